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

const waiting = 1024 // pushes that wait to be printed

// lookUpWithin bounds the look-up of whose phone a push goes to. Tests wait longer.
var lookUpWithin = time.Second

// A screen prints pushes as they arrive. A terminal that is slow, or halted,
// delays nobody: what does not fit into the queue is counted instead.
type screen struct {
	out   io.Writer
	paint paint
	find  directory
	fail  func(error)
	also  func(arrival) // sees every arrival, without delay, when set; set it before show is called

	queue  chan arrival
	missed atomic.Int64
	done   chan struct{} // closed when everything is printed
}

// An arrival is a push and whose phone it was for.
type arrival struct {
	push  *sandbox.Push
	phone devices.Device
	owner string // "" when nobody has that phone
}

// newScreen starts to print on out; it calls fail when that is not possible any
// more. Close it when show is not called any more.
func newScreen(out io.Writer, find directory, fail func(error)) *screen {
	s := &screen{
		out: out, paint: paintFor(out), find: find, fail: fail,
		queue: make(chan arrival, waiting), done: make(chan struct{}),
	}
	go s.print()
	return s
}

// show has a push printed. It looks up at once whose phone it is for, since the
// answer may be that the phone is to be forgotten.
func (s *screen) show(p *sandbox.Push) {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpWithin)
	defer cancel()
	platform := devices.Android
	if p.Platform == sandbox.PlatformAPNs {
		platform = devices.IOS
	}
	a := arrival{push: p}
	a.phone, a.owner = s.find(ctx, platform, p.Token)
	if s.also != nil {
		s.also(a)
	}
	select {
	case s.queue <- a:
	default:
		s.missed.Add(1)
	}
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
