package dispatcher

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// auditPage is how many users are listed at a time.
const auditPage = 100

// Audit recomputes a user's counters and returns what differs, mending it with
// repair; see inbox.Store.Audit.
func (d *Dispatcher) Audit(ctx context.Context, user int64, repair bool) ([]inbox.Finding, error) {
	return d.Inbox.Auditor.Audit(ctx, user, classesOf, repair)
}

// AuditAll audits every user, and the queues, and calls f with what differs as it is
// found. It takes bounded steps, however many users there are. What is wrong in a
// queue is not mended: its worker buries it.
func (d *Dispatcher) AuditAll(ctx context.Context, repair bool, f func(inbox.Finding)) error {
	for p := range d.Partitions.Len() {
		for after := int64(0); ; {
			users, err := d.Inbox.Users.After(ctx, p, after, auditPage)
			if err != nil {
				return err
			}
			for _, user := range users {
				found, err := d.Audit(ctx, user, repair)
				for _, finding := range found {
					f(finding)
				}
				if err != nil {
					return err
				}
				after = user
			}
			if len(users) < auditPage {
				break
			}
		}
		if err := d.auditQueues(ctx, p, f); err != nil {
			return err
		}
	}
	return nil
}

// classesOf implements inbox.Rules with the rule table.
func classesOf(subject string, rank int) (sellers, buyers model.Counter, known bool) {
	resource, _, _ := strings.Cut(subject, ":")
	for _, m := range meanings[resource] {
		if m.rank == rank {
			return m.counter(seller), m.counter(buyer), true
		}
	}
	return 0, 0, false
}

// auditQueues looks for entries that cannot be read, or that lie in a partition that
// is not their receiver's.
func (d *Dispatcher) auditQueues(ctx context.Context, p int, f func(inbox.Finding)) error {
	check := func(set string) func(string) bool {
		return func(value string) bool {
			e, err := parseEntry(value)
			switch {
			case err != nil:
				f(inbox.Finding{Set: set, Member: "an entry", Problem: "cannot be read"})
			case d.Partitions.OfUser(e.User) != p:
				f(inbox.Finding{User: e.User, Set: set, Member: e.ID, Problem: fmt.Sprintf("lies in partition %d", p)})
			}
			return false // nothing is dropped
		}
	}
	for _, l := range push.Lanes {
		if err := d.dropEntries(ctx, d.outKey(p, l), check("out:"+l.String())); err != nil {
			return err
		}
		if err := rdb.DropMembers(ctx, d.Redis, d.delayedKey(p, l), check("delayed:"+l.String())); err != nil {
			return err
		}
	}
	return d.Inbox.Handoffs.Drop(ctx, p, func(text string) bool {
		var h handoff
		if err := json.Unmarshal([]byte(text), &h); err != nil || h.Pending == nil && h.Reading == nil {
			f(inbox.Finding{Set: "handoffs", Member: "a hand-off", Problem: "cannot be read"})
		}
		return false
	})
}
