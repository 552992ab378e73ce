package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

type auditCmd struct {
	User   string `arg:"" optional:"" help:"The user's id; all users when absent."`
	Repair bool   `help:"Repair differences, and audit again."`
}

// Run implements the command. It fails when differences are left.
func (c auditCmd) Run(e *env) error {
	core, err := e.core()
	if err != nil {
		return err
	}
	defer core.Close()
	audit := func(repair bool, f func(inbox.Finding)) error {
		return core.Dispatcher.Auditor.All(e.ctx, repair, f)
	}
	if c.User != "" {
		user, err := model.ParseUser(c.User)
		if err != nil {
			return fmt.Errorf("user %w", err)
		}
		audit = func(repair bool, f func(inbox.Finding)) error {
			found, err := core.Dispatcher.Auditor.User(e.ctx, user, repair)
			for _, finding := range found {
				f(finding)
			}
			return err
		}
	}
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tSET\tMEMBER\tPROBLEM")
	n := 0
	err = audit(c.Repair, func(f inbox.Finding) {
		n++
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", f.User, f.Set, f.Member, f.Problem)
	})
	if err := w.Flush(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if c.Repair && n > 0 {
		fmt.Fprintf(e.out, "%d differences were to be repaired\n", n)
		n = 0
		if err := audit(false, func(inbox.Finding) { n++ }); err != nil {
			return err
		}
	}
	if n > 0 {
		return fmt.Errorf("%d differences are left", n)
	}
	return nil
}
