package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
)

type deadCmd struct {
	List    deadListCmd    `cmd:"" help:"List the newest dead letters."`
	Show    deadShowCmd    `cmd:"" help:"Show one dead letter, with the notification's text."`
	Requeue deadRequeueCmd `cmd:"" help:"Try dead letters anew."`
	Drop    deadDropCmd    `cmd:"" help:"Delete dead letters."`
}

type deadListCmd struct {
	Max int `name:"most" help:"How many at most." default:"50"`
}

// Run implements the command.
func (c deadListCmd) Run(e *env) error {
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	letters, err := core.Dispatcher.Outbox.DeadLetters(e.ctx, c.Max)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tBURIED\tLANE\tTYPE\tUSER\tDEVICE\tROUTE\tATTEMPTS\tREASON")
	for _, l := range letters {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n",
			l.ID, stamp(l.BuriedAt), l.Lane, l.Type, l.Receiver, cmp.Or(l.Device, "all"), cmp.Or(l.Route, "-"), l.Attempts, l.Reason)
	}
	return w.Flush()
}

type deadShowCmd struct {
	ID string `arg:"" help:"The dead letter's id."`
}

// Run implements the command.
func (c deadShowCmd) Run(e *env) error {
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	l, err := core.Dispatcher.Outbox.DeadLetter(e.ctx, c.ID)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.out, "id        %s\naccepted  %s\nburied    %s\nlane      %s\ntype      %s\nuser      %d\ndevice    %s\nroute     %s\nattempts  %d\nreason    %s\nbody      %s\n",
		l.ID, stamp(l.AcceptedAt), stamp(l.BuriedAt), l.Lane, l.Type, l.Receiver, cmp.Or(l.Device, "all"), cmp.Or(l.Route, "-"), l.Attempts, l.Reason, l.Body)
	return err
}

type deadRequeueCmd struct {
	IDs []string `arg:"" optional:"" name:"id" help:"The dead letters' ids."`
	All bool     `help:"All of them."`
}

// Run implements the command.
func (c deadRequeueCmd) Run(e *env) error {
	return eachLetter(e, c.IDs, c.All, "requeued", (*outbox.Outbox).Requeue)
}

type deadDropCmd struct {
	IDs []string `arg:"" optional:"" name:"id" help:"The dead letters' ids."`
	All bool     `help:"All of them."`
}

// Run implements the command.
func (c deadDropCmd) Run(e *env) error {
	return eachLetter(e, c.IDs, c.All, "dropped", (*outbox.Outbox).Drop)
}

// maxLetters is how many dead letters are read at once.
const maxLetters = 1000

// eachLetter calls do for the named dead letters, or for all of them.
func eachLetter(e *env, ids []string, all bool, done string, do func(*outbox.Outbox, context.Context, string) error) error {
	if all == (len(ids) > 0) {
		return errors.New("name dead letters, or give --all")
	}
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	n := 0
	defer func() { fmt.Fprintf(e.out, "%d %s\n", n, done) }()
	for {
		if all {
			letters, err := core.Dispatcher.Outbox.DeadLetters(e.ctx, maxLetters)
			if err != nil || len(letters) == 0 {
				return err
			}
			ids = ids[:0]
			for _, l := range letters {
				ids = append(ids, l.ID)
			}
		}
		for _, id := range ids {
			if err := do(core.Dispatcher.Outbox, e.ctx, id); err != nil && !(all && errors.Is(err, outbox.ErrNoLetter)) {
				return err
			}
			n++
		}
		if !all || len(ids) < maxLetters {
			return nil
		}
	}
}
