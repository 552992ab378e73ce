package dispatcher

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// gather looks up, for all entries in one round trip, the receivers' devices,
// numbers and settings, and whether something newer takes their place.
func (l *lane) gather(ctx context.Context, works []*work) error {
	d := l.d
	const each = 3 // commands for every entry
	commands := make([]*rdb.Command, 0, each*len(works))
	for _, w := range works {
		commands = append(commands,
			rdb.NewCommand(ctx, "hvals", d.Devices.ListKey(w.entry.User)),
			d.Inbox.Counters.UnreadsCommand(ctx, w.entry.User, w.subject()),
			d.Inbox.Profiles.SettingsCommand(ctx, w.entry.User))
	}
	chats := make(map[*work]*rdb.Command)
	for _, w := range works {
		if conversation, ok := strings.CutPrefix(w.entry.Tag, chatTag); ok && w.entry.From != "" {
			chats[w] = d.Inbox.Conversations.StatusCommand(ctx, w.entry.User, conversation, w.entry.ID)
			commands = append(commands, chats[w])
		}
	}
	if err := l.batcher.Do(ctx, commands...); err != nil {
		return err
	}
	for i, w := range works {
		mine := commands[each*i:]
		listed, err := mine[0].StringSlice()
		if err != nil {
			return fmt.Errorf("list devices: %w", err)
		}
		if w.devices, err = devices.ParseList(listed); err != nil {
			return err
		}
		if w.unreads, err = inbox.ReadUnreads(mine[1]); err != nil {
			return err
		}
		w.about = inbox.ReadSubject(mine[1])
		if w.settings, err = inbox.ReadSettings(mine[2]); err != nil {
			return err
		}
		if c := chats[w]; c != nil {
			if w.attention, err = inbox.ReadMessageStatus(c); err != nil {
				return err
			}
		}
	}
	return d.fillTexts(ctx, works)
}

// subject is what has to be looked up to tell whether the push is superseded, or "".
func (w *work) subject() string {
	if w.entry.State || w.entry.Attempt > 0 || w.entry.From != "" {
		return w.entry.Tag
	}
	return ""
}

// superseded reports whether the push is no news any more: a newer state was told
// since, even in silence, or the place on the screen of a retry or of a message, which
// may have waited for its grace, is a newer one's. Ids are in the order of storing,
// and a state that came late was not enqueued.
func (w *work) superseded() bool {
	e := w.entry
	return e.State && w.about.Told > e.ID || (e.Attempt > 0 || e.From != "") && w.about.Newest > e.ID
}

// send starts a job for each device that is owed the push. A work without any is
// finished.
func (l *lane) send(ctx context.Context, w *work) {
	e := w.entry
	switch {
	case w.superseded():
		w.drop("superseded")
	case l.d.Now().UnixMilli() > e.Until:
		w.bury(e.Owed, "expired", e.value())
	case w.attention.Seen:
		w.note(e.Owed, deviceStatus{Outcome: "read", Attempts: e.Attempt})
	default:
		l.start(ctx, w)
		return
	}
	l.finished <- w
}

// start renders the push and queues a job for each device that wants it, unless it has
// to wait.
func (l *lane) start(ctx context.Context, w *work) {
	wanting := l.wanting(w)
	if len(wanting) == 0 || l.quiet(w) {
		l.finished <- w
		return
	}
	delivery, err := l.d.render(w)
	if err != nil {
		l.d.Log.Error("a push cannot be rendered", "lane", l.lane, "id", w.key.id, "error", err)
		w.bury(w.entry.Owed, "unreadable", w.entry.value())
		l.finished <- w
		return
	}
	jobs := make([]*job, 0, len(wanting))
	for _, device := range wanting {
		j := &job{work: w, device: device, delivery: delivery}
		if device.Preferences.Private {
			j.delivery = l.d.conceal(l.d.localeOf(&w.settings.Locale), delivery)
		}
		j.delivery.Token = device.Token
		j.delivery.ID = attemptID(w.entry.ID, device.ID)
		jobs = append(jobs, j)
	}
	w.left.Store(int32(len(jobs)))
	for _, j := range jobs {
		q, on := l.queues[j.device.Platform]
		switch {
		case !on:
			l.finish(j, push.Result{Outcome: push.Refused, Reason: "off"}, false)
		case j.device.Suspended != "" && w.entry.Owed == "":
			l.finish(j, push.Result{Outcome: push.Unsendable, Reason: j.device.Suspended}, false)
		default:
			q.put(ctx, j)
		}
	}
}

// attemptID is the UUID of a push to a device. It follows from both, so that every
// attempt, from whichever process, has the same one.
func attemptID(id, device string) string {
	sum := sha256.Sum256([]byte(id + "\x00" + device))
	u := uuid.UUID(sum[:16])
	u[6] = u[6]&0x0f | 0x80 // version 8: our own digest
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}
