package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/cmd/internal/cli"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/receipt"
)

type broadcastCmd struct {
	List   broadcastListCmd   `cmd:"" help:"List the newest broadcasts."`
	Show   broadcastShowCmd   `cmd:"" help:"Show one broadcast and how far it is."`
	Watch  broadcastWatchCmd  `cmd:"" help:"Follow a broadcast to its end; fails unless everyone was reached."`
	Pause  broadcastPauseCmd  `cmd:"" help:"Stop sending until it is resumed."`
	Resume broadcastResumeCmd `cmd:"" help:"Go on with a paused broadcast."`
	Cancel broadcastCancelCmd `cmd:"" help:"End a broadcast."`
}

// maxSearched is how many broadcasts are searched for an id.
const maxSearched = 1000

// oneBroadcast names a broadcast.
type oneBroadcast struct {
	ID      string `arg:"" help:"The broadcast's id."`
	Service string `help:"Name of the service that started it; needed when several have used the id."`
}

// find returns the broadcast.
func (c oneBroadcast) find(e *env, core *app.Core) (broadcast.Status, error) {
	if c.Service != "" {
		s, err := core.Dispatcher.Broadcasts.Get(e.ctx, event.ServiceSource(c.Service), c.ID)
		if err != nil {
			return s, fmt.Errorf("broadcast %q of service %q: %w", c.ID, c.Service, err)
		}
		return s, nil
	}
	all, err := core.Dispatcher.Broadcasts.List(e.ctx, maxSearched)
	if err != nil {
		return broadcast.Status{}, err
	}
	all = slices.DeleteFunc(all, func(s broadcast.Status) bool { return s.ID != c.ID })
	switch len(all) {
	case 0:
		return broadcast.Status{}, fmt.Errorf("broadcast %q: not found", c.ID)
	case 1:
		return all[0], nil
	}
	return broadcast.Status{}, fmt.Errorf("broadcast %q: several services have one; name it with --service", c.ID)
}

// with calls do with the broadcast.
func (c oneBroadcast) with(e *env, do func(core *app.Core, s broadcast.Status) error) error {
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	s, err := c.find(e, core)
	if err != nil {
		return err
	}
	return do(core, s)
}

// set changes the state of the broadcast and shows it.
func (c oneBroadcast) set(e *env, to broadcast.State) error {
	return c.with(e, func(core *app.Core, s broadcast.Status) error {
		s, err := core.Dispatcher.Broadcasts.Set(e.ctx, s.Source, s.ID, to)
		if err != nil {
			return fmt.Errorf("broadcast %q: %w", c.ID, err)
		}
		_, err = fmt.Fprintln(e.out, progressLine(s))
		return err
	})
}

type broadcastPauseCmd struct{ oneBroadcast }

// Run implements the command.
func (c broadcastPauseCmd) Run(e *env) error { return c.set(e, broadcast.Paused) }

type broadcastResumeCmd struct{ oneBroadcast }

// Run implements the command.
func (c broadcastResumeCmd) Run(e *env) error { return c.set(e, broadcast.Running) }

type broadcastCancelCmd struct{ oneBroadcast }

// Run implements the command.
func (c broadcastCancelCmd) Run(e *env) error { return c.set(e, broadcast.Cancelled) }

type broadcastListCmd struct {
	Max int `name:"most" help:"How many at most." default:"50"`
}

// Run implements the command.
func (c broadcastListCmd) Run(e *env) error {
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	all, err := core.Dispatcher.Broadcasts.List(e.ctx, c.Max)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSERVICE\tTYPE\tSTATE\tAT\tREACHED\tTOTAL\tSENT\tPUSHED\tFAILED")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n",
			s.ID, s.Service(), s.Type, s.State, stamp(s.At), s.Walked, s.Total, s.Sent, s.Pushed, failures(s))
	}
	return w.Flush()
}

type broadcastShowCmd struct{ oneBroadcast }

// Run implements the command.
func (c broadcastShowCmd) Run(e *env) error {
	return c.with(e, func(_ *app.Core, s broadcast.Status) error { return show(e.out, s) })
}

// show prints all details of a broadcast.
func show(out io.Writer, s broadcast.Status) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	when := func(name string, at time.Time) {
		if !at.IsZero() {
			line(name, stamp(at))
		}
	}
	line("id", s.ID)
	line("service", s.Service())
	line("type", s.Type)
	line("state", s.State)
	when("created", s.CreatedAt)
	when("at", s.At)
	when("expires", s.ExpiresAt)
	when("started", s.StartedAt)
	when("finished", s.FinishedAt)
	line("reached", fmt.Sprintf("%d of %d users", s.Walked, s.Total))
	line("sent", fmt.Sprintf("%d users", s.Sent))
	line("skipped", fmt.Sprintf("%d users", s.Skipped))
	line("rate", fmt.Sprintf("%.0f users a second, at most %d", s.Pace, s.Rate))
	if s.Left >= 0 {
		line("left", s.Left)
	}
	line("pushed", fmt.Sprintf("%d devices", s.Pushed))
	for _, reason := range slices.Sorted(maps.Keys(s.Failed)) {
		line("failed", fmt.Sprintf("%d %s", s.Failed[reason], reason))
	}
	for _, event := range receipt.Events {
		if n := s.Receipts[event]; n > 0 {
			line(event, fmt.Sprintf("%d devices", n))
		}
	}
	return w.Flush()
}

type broadcastWatchCmd struct {
	oneBroadcast
	Every time.Duration `help:"How often to look." default:"1s"`
}

// Run implements the command.
func (c broadcastWatchCmd) Run(e *env) error {
	if c.Every <= 0 {
		return errors.New("--every must be positive")
	}
	return c.with(e, func(core *app.Core, s broadcast.Status) error { return c.watch(e, core, s) })
}

// watch shows progress until the broadcast is over.
func (c broadcastWatchCmd) watch(e *env, core *app.Core, s broadcast.Status) (err error) {
	draw := lines(e.out)
	if cli.IsTerminal(e.out) {
		draw = bar(e.out, s)
	}
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		draw(s)
		if s.State.Over() {
			break
		}
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			return e.ctx.Err()
		}
		if s, err = core.Dispatcher.Broadcasts.Get(e.ctx, s.Source, s.ID); err != nil {
			return err
		}
	}
	if err := show(e.out, s); err != nil {
		return err
	}
	if s.State != broadcast.Done {
		return fmt.Errorf("broadcast %q is %s", s.ID, s.State)
	}
	return nil
}

// lines shows progress in files and pipes, a line for each change.
func lines(out io.Writer) func(broadcast.Status) {
	last := ""
	return func(s broadcast.Status) {
		if line := progressLine(s); line != last {
			fmt.Fprintln(out, time.Now().Format(time.TimeOnly), line)
			last = line
		}
	}
}

// bar shows progress on a terminal.
func bar(out io.Writer, s broadcast.Status) func(broadcast.Status) {
	b := progressbar.NewOptions64(max(s.Total, 1),
		progressbar.OptionSetWriter(out),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false), // leftOf predicts it from the whole rate
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionFullWidth(),
	)
	return func(s broadcast.Status) {
		b.ChangeMax64(max(s.Total, 1))
		b.Describe(fmt.Sprintf("%s %.0f/s%s", s.State, s.Pace, leftOf(s)))
		_ = b.Set64(s.Walked) // only fails past the end
		if s.State.Over() {
			_ = b.Exit()
			fmt.Fprintln(out)
		}
	}
}

// progressLine is a broadcast's progress in one line.
func progressLine(s broadcast.Status) string {
	return fmt.Sprintf("%s: %s, %d of %d users, sent %d, skipped %d, pushed %d, failed %d, %.0f/s%s",
		s.ID, s.State, s.Walked, s.Total, s.Sent, s.Skipped, s.Pushed, failures(s), s.Pace, leftOf(s))
}

func leftOf(s broadcast.Status) string {
	if s.Left <= 0 {
		return ""
	}
	return fmt.Sprintf(", %s left", s.Left)
}

// failures is how many pushes failed for good.
func failures(s broadcast.Status) int64 {
	var n int64
	for _, of := range s.Failed {
		n += of
	}
	return n
}
