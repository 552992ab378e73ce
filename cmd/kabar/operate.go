package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
)

type sendCmd struct {
	File    string `arg:"" optional:"" help:"File with events; standard input when absent or -."`
	Service string `help:"Name of the service to publish as: ids are unique within it." default:"cli"`
}

// maxBatch is how many events are published in one call.
const maxBatch = 100

// Run implements the command.
func (c sendCmd) Run(e *env) error {
	in := e.in
	if c.File != "" && c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	failed := 0
	var batch []*event.Event
	flush := func() {
		for i, r := range core.Dispatcher.Publish(e.ctx, event.ServiceSource(c.Service), batch...) {
			switch {
			case r.Err != nil:
				failed++
				fmt.Fprintf(e.out, "%s\tfailed: %v\n", r.ID, r.Err)
			case r.Duplicate:
				fmt.Fprintf(e.out, "%s\tduplicate\n", r.ID)
			default:
				fmt.Fprintf(e.out, "%s\taccepted\n", r.ID)
			}
			for _, name := range batch[i].Unknown {
				fmt.Fprintf(e.out, "%s\twarning: %q is not a member of an event, and was ignored\n", r.ID, name)
			}
		}
		batch = batch[:0]
	}
	err = eachEvent(in, func(raw []byte) {
		parsed, err := core.Dispatcher.Parse(raw)
		if err != nil {
			failed++
			fmt.Fprintf(e.out, "-\trefused: %v\n", err)
			return
		}
		if batch = append(batch, parsed); len(batch) == maxBatch {
			flush()
		}
	})
	if len(batch) > 0 {
		flush()
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d events were not published", failed)
	}
	return err
}

// eachEvent calls f with each JSON object of a stream of objects or arrays of them.
func eachEvent(in io.Reader, f func(raw []byte)) error {
	dec := jsontext.NewDecoder(bufio.NewReader(in), jsontext.AllowDuplicateNames(true))
	for n := 1; ; n++ {
		if dec.PeekKind() == '[' || dec.PeekKind() == ']' {
			if _, err := dec.ReadToken(); err != nil {
				return fmt.Errorf("event %d: %w", n, err)
			}
			continue
		}
		raw, err := dec.ReadValue()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", n, err)
		}
		f(bytes.Clone(raw))
	}
}

type eventCmd struct {
	ID      string `arg:"" help:"The event's id."`
	Service string `help:"Name of the service that published it." default:"cli"`
	Source  string `help:"The source of a CloudEvent."`
}

// Run implements the command.
func (c eventCmd) Run(e *env) error {
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	all, err := core.Dispatcher.Delivery.Status(e.ctx, event.WithinSource(event.ServiceSource(c.Service), c.Source), c.ID)
	if err != nil {
		return fmt.Errorf("event %q of service %q: %w", c.ID, c.Service, err)
	}
	for _, s := range all {
		if s.NotificationID == "" {
			fmt.Fprintf(e.out, "receiver %d: nothing is stored, push %s\n", s.Receiver, s.Push)
			continue
		}
		fmt.Fprintf(e.out, "receiver %d: stored %s as %s, push %s, a socket was listening: %t\n",
			s.Receiver, stamp(s.StoredAt), s.NotificationID, s.Push, s.Live)
		w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		for _, d := range s.Devices {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\tattempts: %d\t%s\t%s\n",
				d.Device, d.Route, d.Outcome, cmp.Or(d.Reason, "-"), d.Attempts, stamp(d.At), cmp.Or(d.ProviderID, waiting(d)))
		}
		for _, r := range s.Receipts {
			fmt.Fprintf(w, "  %s\tsaid %s\t%s\n", cmp.Or(r.Device, "an app"), r.Event, stamp(r.At))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// waiting says since when a push waits, and why; it is empty for one that waits neither for
// its device's recheck nor for a circuit.
func waiting(d delivery.DeviceStatus) string {
	if d.Since.IsZero() {
		return string(d.Why)
	}
	return strings.TrimSpace(fmt.Sprintf("since %s %s", stamp(d.Since), d.Why))
}

func stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05.000 MST") }
