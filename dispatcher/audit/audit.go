// Package audit checks the consistency of the data in Redis: whether each user's counters
// match the data that they count, and whether each entry of the queues can be read and lies
// in the partition of its receiver.
package audit

import (
	"context"
	"fmt"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// usersPage is how many users are listed at a time.
const usersPage = 100

// Queues holds the pushes that wait. [outbox.Outbox] implements it and documents the
// method.
type Queues interface {
	EachEntry(ctx context.Context, partition int, f func(set, value string)) error
}

// Options configure an Auditor. All of them are required.
type Options struct {
	Partitions *rdb.Partitions
	Inbox      *inbox.Store
	Queues     Queues
	// ValidHandoff reports whether a stored hand-off can be read; see chat.ValidHandoff.
	ValidHandoff func(handoff string) bool
}

// An Auditor audits users and queues. Its methods are safe for concurrent use.
type Auditor struct {
	partitions   *rdb.Partitions
	inbox        *inbox.Store
	queues       Queues
	validHandoff func(handoff string) bool
}

// New returns an auditor.
func New(o Options) *Auditor {
	return &Auditor{partitions: o.Partitions, inbox: o.Inbox, queues: o.Queues, validHandoff: o.ValidHandoff}
}

// User recomputes a user's counters and returns the differences; with repair it also
// corrects them. See inbox.Auditor.Audit.
func (a *Auditor) User(ctx context.Context, user int64, repair bool) ([]inbox.Finding, error) {
	return a.inbox.Auditor.Audit(ctx, user, event.Counters, repair)
}

// All audits every user and every queue, and calls f with each difference as it is found.
// It takes bounded steps, however many users there are. Faults in queues are not repaired.
func (a *Auditor) All(ctx context.Context, repair bool, f func(inbox.Finding)) error {
	for p := range a.partitions.Len() {
		if err := a.auditUsers(ctx, p, repair, f); err != nil {
			return err
		}
		if err := a.auditQueues(ctx, p, f); err != nil {
			return err
		}
	}
	return nil
}

// auditUsers audits the users of a partition.
func (a *Auditor) auditUsers(ctx context.Context, partition int, repair bool, f func(inbox.Finding)) error {
	for after := int64(0); ; {
		users, err := a.inbox.Users.After(ctx, partition, after, usersPage)
		if err != nil {
			return err
		}
		for _, user := range users {
			found, err := a.User(ctx, user, repair)
			for _, finding := range found {
				f(finding)
			}
			if err != nil {
				return err
			}
			after = user
		}
		if len(users) < usersPage {
			return nil
		}
	}
}

// auditQueues looks for entries and hand-offs that cannot be read, and for entries that lie in
// another partition than their receiver.
func (a *Auditor) auditQueues(ctx context.Context, partition int, f func(inbox.Finding)) error {
	err := a.queues.EachEntry(ctx, partition, func(set, value string) {
		e, err := outbox.ParseEntry(value)
		switch {
		case err != nil:
			f(inbox.Finding{Set: set, Member: "an entry", Problem: "cannot be read"})
		case a.partitions.OfUser(e.User) != partition:
			f(inbox.Finding{User: e.User, Set: set, Member: e.ID, Problem: fmt.Sprintf("lies in partition %d", partition)})
		}
	})
	if err != nil {
		return err
	}
	return a.inbox.Handoffs.Drop(ctx, partition, func(handoff string) bool {
		if !a.validHandoff(handoff) {
			f(inbox.Finding{Set: "handoffs", Member: "a hand-off", Problem: "cannot be read"})
		}
		return false // keep it
	})
}
