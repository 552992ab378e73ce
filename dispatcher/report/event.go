package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// aboutEvent is what reports say of an event.
type aboutEvent struct {
	EventID string `json:"event_id"`
	Source  string `json:"source,omitempty"` // of a CloudEvent
	UserID  int64  `json:"user_id"`          // the receiver
	Device  string `json:"device,omitempty"` // its id, never its token; absent: all of the user's
	Reason  string `json:"reason"`
}

func about(e *outbox.Entry, device, reason string) aboutEvent {
	return aboutEvent{e.EventID, e.Source, e.User, device, reason}
}

// Failures returns what settling an entry adds for its dead letters: a report for each,
// when the service wants them. The fragment returns how many reports were dropped; see
// Queued.
func (r *Reports) Failures(partition int, e *outbox.Entry, letters []outbox.Dead) outbox.Addition {
	if len(letters) == 0 || r.wants(e.Service, EventFailed) == nil {
		return outbox.Addition{}
	}
	args := []any{maxQueued, keepFor.Milliseconds()}
	for _, letter := range letters {
		args = append(args, r.newID(), r.body(EventFailed, struct {
			aboutEvent
			Type           string `json:"type"`
			NotificationID string `json:"notification_id"`
		}{about(e, letter.Device, letter.Reason), e.Type, e.ID}))
	}
	return outbox.Addition{
		Fragment: Fragment.Name,
		Keys:     []string{r.streamKey(partition, e.Service), r.dueKey(partition, e.Service)},
		Args:     args,
	}
}

// Queued counts what settling an entry did to the reports of its service, and has them
// sent.
func (r *Reports) Queued(service string, dropped int) {
	s := r.senders[service]
	if s == nil {
		return
	}
	s.dropped("full", max(0, dropped))
	s.nudge()
}

// forgottenDelay is how long the report of a forgotten device waits to be taken back: longer
// than forgetting the device may take.
const forgottenDelay = 5500 * time.Millisecond

// Forgotten queues the report of a device that is about to be forgotten: afterwards a
// process may die, and nobody would know of it. It returns a function that takes the
// report back, for a device that was registered anew.
func (r *Reports) Forgotten(ctx context.Context, b *rdb.Batcher, e *outbox.Entry, device, platform, reason string) (withdraw func(context.Context), err error) {
	s := r.wants(e.Service, DeviceForgotten)
	if s == nil {
		return func(context.Context) {}, nil
	}
	partition := r.partitions.OfUser(e.User)
	entry, err := s.put(ctx, b, partition, forgottenDelay, &Report{ID: r.newID(), Body: r.body(DeviceForgotten, struct {
		aboutEvent
		Platform string `json:"platform"`
	}{about(e, device, reason), platform})}, "")
	return func(ctx context.Context) {
		if err := b.Do(ctx, s.settleCommand(ctx, partition, entry, "")); err != nil {
			r.log.Warn("the report of a device that was registered again cannot be taken back", "error", err)
		}
	}, err
}

// A Broadcast is what a service is told of a broadcast that has ended.
type Broadcast struct {
	ID       string           `json:"broadcast_id"`
	State    string           `json:"state"` // done, cancelled or expired
	Total    int64            `json:"total"`
	Sent     int64            `json:"sent"`
	Skipped  int64            `json:"skipped"`
	Pushed   int64            `json:"pushed"` // so far, as is what failed
	Failed   map[string]int64 `json:"failed"`
	Finished time.Time        `json:"finished_at"`
}

// Ended queues the report that a broadcast of a source has ended, if its service wants to
// know. Repeating it is safe, after an error or a crash, or when several processes see
// the end: the report is queued once.
func (r *Reports) Ended(ctx context.Context, b *rdb.Batcher, source string, ended Broadcast) error {
	s := r.wants(event.SourceService(source), BroadcastDone)
	if s == nil {
		return nil
	}
	ended.Finished = ended.Finished.In(r.location)
	sum := sha256.Sum256([]byte(source + "\x00" + ended.ID))
	id, partition := "msg_"+hex.EncodeToString(sum[:12]), r.partitions.Of(ended.ID)
	_, err := s.put(ctx, b, partition, 0, &Report{ID: id, Body: r.body(BroadcastDone, ended)},
		r.markKey(partition, s.service, id))
	return err
}
