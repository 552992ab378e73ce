package inbox

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed schedule_record.lua
	scheduleRecordSource string
	//go:embed store_scheduled.lua
	storeScheduledSource string

	scheduleRecordScript = script(scheduleRecordSource)
)

// PushScheduled is the Push of a Record whose event is published later.
const PushScheduled = "scheduled"

// Schedule makes the records of an event that is published at the given time, one for each
// receiver: they reserve the event's id, and are kept until that time and for as long as other
// records after it. placed is how many it has made; the error is ErrConflict when a receiver
// has the event with other content. After another error the call may be repeated.
func (n *Notifications) Schedule(ctx context.Context, event, content string, receivers []int64, at time.Time) (placed int, err error) {
	records := make([]*rdb.Command, len(receivers))
	call := model.NewIDSuffix()
	for i, user := range receivers {
		k := n.keys(user)
		records[i] = scheduleRecordScript.Command(ctx, []string{k.record(event), k.meta(), k.recordIndex()},
			event, content, call, at.UnixMilli(), n.recordTTL().Milliseconds())
	}
	_ = n.batcher.Do(ctx, records...) // each command holds its own error
	for _, c := range records {
		status, failed := c.Int()
		if failed = cmp.Or(c.Err(), failed); failed != nil {
			return placed, fmt.Errorf("schedule event: %w", failed)
		}
		switch {
		case status < 0:
			err = ErrConflict
		case status == 1:
			placed++
		}
	}
	index := n.records.indexCommands(ctx, map[string][]int64{event: receivers}, n.recordTTL()+max(0, at.Sub(n.now())))
	_ = n.batcher.Do(ctx, index.commands...) // each command holds its own error
	n.records.mergeIndex(ctx, index)
	if failed := index.failed()[event]; failed != nil {
		return placed, failed
	}
	return placed, err
}

// StoreScheduled stores an event whose time has come as Store does, for those receivers who
// have its record from Schedule.
func (n *Notifications) StoreScheduled(ctx context.Context, events []NewNotification, receivers map[string][]int64) ([]StoreResult, []error) {
	return n.storeAll(ctx, events, receivers, func(p *NewNotification) *rdb.Command {
		return n.storeScheduled.Command(ctx, p, []string{n.records.Key(p.Receiver, p.Event) + ":due"})
	})
}
