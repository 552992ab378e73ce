package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const maxQueued = 1024 // pushes that may wait to be printed

// lookUpTimeout is for looking up the owner of a phone. Tests set a longer one.
var lookUpTimeout = time.Second

// A screen prints pushes as they arrive. A slow or stopped terminal delays nobody: pushes
// that do not fit into the queue are only counted.
type screen struct {
	out   io.Writer
	paint paint
	find  directory
	fail  func(error)
	also  func(arrival) // called with every arrival, if set before the first call of show

	queue  chan arrival
	missed atomic.Int64
	done   chan struct{} // closed when everything is printed
}

// An arrival is a push with its phone and the owner of that.
type arrival struct {
	push  *sandbox.Push
	phone devices.Device
	owner string // "" when nobody has that phone
}

// newScreen starts to print on out, and calls fail when printing fails. Close it after the
// last call of show.
func newScreen(out io.Writer, find directory, fail func(error)) *screen {
	s := &screen{
		out: out, paint: paintFor(out), find: find, fail: fail,
		queue: make(chan arrival, maxQueued), done: make(chan struct{}),
	}
	go s.print()
	return s
}

// show queues a push for printing. It looks up the owner of the phone first, because the
// gateway may forget the phone once the push is answered.
func (s *screen) show(p *sandbox.Push) {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	a := arrival{push: p}
	a.phone, a.owner = s.find(ctx, deviceOf(p))
	if s.also != nil {
		s.also(a)
	}
	select {
	case s.queue <- a:
	default:
		s.missed.Add(1)
	}
}

// deviceOf returns what a push says of its device.
func deviceOf(p *sandbox.Push) devices.Device {
	_, apple := p.Apple()
	switch {
	case p.Platform == sandbox.PlatformWeb:
		return devices.Device{Platform: devices.Web, Token: p.Endpoint}
	case !apple:
		return devices.Device{Platform: devices.Android, Token: p.Token}
	case p.Platform == sandbox.PlatformFCM:
		return devices.Device{Platform: devices.IOS, Provider: devices.FCM, Token: p.Token}
	}
	return devices.Device{Platform: devices.IOS, Token: p.Token}
}

// print prints what is in the queue until it is closed.
func (s *screen) print() {
	defer close(s.done)
	for a := range s.queue {
		text := "\n" + s.paint.block(a)
		if n := s.missed.Swap(0); n > 0 {
			text += fmt.Sprintf("\n… and %d more that came too fast to be shown\n", n)
		}
		if _, err := io.WriteString(s.out, text); err != nil {
			s.fail(fmt.Errorf("print: %w", err))
		}
	}
}

// close prints what is left and ends.
func (s *screen) close() error {
	close(s.queue)
	<-s.done
	return nil
}
