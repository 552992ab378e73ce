package inbox

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed retract.lua
var retractSource string
var retractScript = script(retractSource)

// PushRetracted is the Push of a Record whose event was retracted.
const PushRetracted = "retracted"

// Retract takes an event back from its receivers: out of their lists and counters, and from
// live sockets and screens. States of subjects stay as told, and a repeat of the event is a
// duplicate. It returns the records as they were before. Pushes that are queued are left to
// the caller. It may be repeated. The error is ErrNotFound when the event is unknown or its records have
// expired; after any other the call may be repeated.
func (n *Notifications) Retract(ctx context.Context, event string) ([]Record, error) {
	users, err := n.records.receiversOf(ctx, event)
	if err != nil {
		return nil, err
	}
	before, err := n.records.Find(ctx, event)
	if err != nil {
		return nil, err
	}
	commands := make([]*rdb.Command, len(users))
	for i, user := range users {
		k := n.keys(user)
		keys, dismissal := n.withShade(k,
			k.record(event), k.meta(), k.notifications(), k.keptBodies(), k.unread(), k.counted(), k.replayLog(), k.recordIndex())
		commands[i] = retractScript.Command(ctx, keys, event, before[0].Content, n.recordTTL().Milliseconds(), n.publish, k.channel(),
			replayFrames, replayLogTTL.Milliseconds(), n.testTime(), dismissal)
	}
	_ = n.batcher.Do(ctx, commands...) // each command holds its own error
	var failed error
	for i, c := range commands {
		reply, err := c.Values(2)
		if err == nil {
			err = c.Err() // not confirmed by replicas
		}
		if err != nil {
			failed = fmt.Errorf("retract event from user %d: %w", users[i], err)
			continue
		}
		n.liveErrors.note(reply[1])
	}
	if failed != nil {
		return nil, failed
	}
	return before, nil
}
