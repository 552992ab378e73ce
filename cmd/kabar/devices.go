package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

type devicesCmd struct {
	List      devicesListCmd      `cmd:"" default:"withargs" help:"List a user's devices."`
	Unsuspend devicesUnsuspendCmd `cmd:"" help:"Let pushes go to suspended devices again."`
}

// coreFor parses a user's id and connects to Redis. The caller closes the core.
func (e *env) coreFor(id string) (int64, *app.Core, error) {
	user, err := model.ParseUser(id)
	if err != nil {
		return 0, nil, fmt.Errorf("user %w", err)
	}
	core, err := e.core()
	return user, core, err
}

type devicesListCmd struct {
	User string `arg:"" help:"The user's id."`
}

// Run implements the command.
func (c devicesListCmd) Run(e *env) error {
	user, core, err := e.coreFor(c.User)
	if err != nil {
		return err
	}
	defer core.Close()
	list, err := core.Devices.List(e.ctx, user)
	if err != nil {
		return err
	}
	owners, err := core.Devices.Owners(e.ctx, list)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tAPP\tPLATFORM\tENVIRONMENT\tTOKEN\tREGISTERED\tACCEPTED\tMODEL\tOFF\tPRIVATE\tSTATE")
	for i, d := range list {
		state := deviceState(d)
		if !owners[i].Owns(user, d) {
			state = "has another owner"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%t\t%s\n", d.ID, cmp.Or(d.App, push.DefaultApp), d.Platform,
			environment(d), abbreviate(d.Token), stamp(d.RegisteredAt()),
			acceptedDay(d), cmp.Or(d.Model, "-"), cmp.Or(d.Preferences.Off, "-"), d.Preferences.Private, state)
	}
	return w.Flush()
}

// environment is the environment of APNs of a device, in parentheses where its app does not
// say it and an acceptance has shown it; "-" when it is not known.
func environment(d devices.Device) string {
	if d.Environment == "" && d.Learned != "" {
		return "(" + d.Learned + ")"
	}
	return cmp.Or(d.Environment, "-")
}

// deviceState says whether pushes go to a device, and why not.
func deviceState(d devices.Device) string {
	var states []string
	if d.Suspended != "" {
		tried := ""
		if d.TriedAt != 0 {
			tried = " (last tried " + stampMilli(d.TriedAt) + ")"
		}
		states = append(states, "suspended: "+d.Suspended+tried)
	}
	if s := d.Suspect; s != nil {
		states = append(states, fmt.Sprintf("suspect: %s since %s, next attempt %s",
			s.Reason, stampMilli(s.Since), stampMilli(s.Next)))
	}
	return cmp.Or(strings.Join(states, "; "), "receives")
}

// acceptedDay is the day of the last acceptance that is known, "-" when none is.
func acceptedDay(d devices.Device) string {
	if d.AcceptedDay == 0 {
		return "-"
	}
	return time.Unix(0, 0).UTC().AddDate(0, 0, d.AcceptedDay).Format(time.DateOnly)
}

type devicesUnsuspendCmd struct {
	User   string `arg:"" help:"The user's id."`
	Device string `arg:"" optional:"" help:"The device's id; all of the user's devices when absent."`
}

// Run implements the command.
func (c devicesUnsuspendCmd) Run(e *env) error {
	user, core, err := e.coreFor(c.User)
	if err != nil {
		return err
	}
	defer core.Close()
	ids := []string{c.Device}
	if c.Device == "" {
		list, err := core.Devices.List(e.ctx, user)
		if err != nil {
			return err
		}
		ids = ids[:0]
		for _, d := range list {
			ids = append(ids, d.ID)
		}
	}
	count := 0
	for _, id := range ids {
		done, err := core.Devices.Unsuspend(e.ctx, user, id)
		if err != nil && !(c.Device == "" && errors.Is(err, devices.ErrNotRegistered)) { // it was removed since
			return fmt.Errorf("device %s of user %d: %w", id, user, err)
		}
		if done {
			count++
		}
	}
	fmt.Fprintf(e.out, "%d unsuspended\n", count)
	return nil
}

// abbreviate shows enough of a token to recognise it, and too little to use it.
func abbreviate(token string) string {
	const shown = 6
	if len(token) <= 2*shown {
		return token[:len(token)/2] + "…"
	}
	return token[:shown] + "…"
}

func stampMilli(ms int64) string { return stamp(time.UnixMilli(ms)) }
