package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Dismissals tell a user's devices what was read elsewhere, so that they take it down. Each
// looks up anew what is still to be said: one that is repeated or late says nothing wrong,
// and one that fails is made up for by the next.

const (
	dismissFor     = 28 * 24 * time.Hour // how long a provider keeps a dismissal for a phone that is away
	maxDismissals  = 8                   // attempts to send one to a device
	maxTold        = 30                  // notifications that one names: some 3 KB
	maxToldAlong   = 8                   // notifications that a push names which shows another one
	backgroundEach = time.Hour           // in which an iPhone gets two background pushes at most
)

// shadeFragment is the name of the fragment that changes what devices show in the script that
// settles a push.
const shadeFragment = "shade"

// beginDismissal gives a dismissal what other entries got when they were stored.
func (w *Workers) beginDismissal(e *outbox.Entry) {
	now := w.Now()
	e.ID, e.Expires, e.Until = model.NewID(now), now.Add(dismissFor).UnixMilli(), now.Add(dismissFor).UnixMilli()
}

// lookAtScreens looks up what devices show, for dismissals and for pushes that owe something
// to an iPhone, in one round trip.
func lookAtScreens(ctx context.Context, shades interface {
	On() bool
	Look(ctx context.Context, b *rdb.Batcher, users []int64) []model.Shade
}, b *rdb.Batcher, tasks []*task, facts []inbox.PushFacts) {
	var looking []*task
	var users []int64
	for i, t := range tasks {
		if shades.On() && facts[i].Err == nil && (t.entry.Dismisses() || facts[i].Owed) {
			looking, users = append(looking, t), append(users, t.entry.User)
		}
	}
	for i, s := range shades.Look(ctx, b, users) {
		looking[i].shade = s
	}
}

// stale returns what a device shows although it is read, the oldest first, and what it was
// told before, the newest first.
func (t *task) stale(device string) (stale, told []model.Shown) {
	for _, s := range t.shade.Shown {
		switch {
		case s.Device != device:
		case s.Told:
			told = append(told, s)
		case s.Read:
			stale = append(stale, s)
		}
	}
	slices.SortFunc(stale, func(a, b model.Shown) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(told, func(a, b model.Shown) int { return cmp.Compare(b.ID, a.ID) })
	return stale, told
}

// dismissals returns the jobs of a dismissal.
func (w *Workers) dismissals(t *task) (jobs []*job) {
	for _, device := range t.devices {
		if device.Platform == devices.Web || t.entry.Owed != "" && device.ID != t.entry.Owed {
			continue
		}
		stale, told := t.stale(device.ID)
		if device.Platform != devices.IOS {
			if len(stale) > 0 {
				jobs = append(jobs, w.takeDown(t, device, stale, told))
			}
			continue
		}
		if screen, pushed := t.shade.Screens[device.ID]; pushed && screen.Badge != t.unreads.Badge() {
			jobs = append(jobs, w.dismissal(t, device, "badge", &model.Telling{Badge: t.unreads.Badge()}))
		}
		switch {
		case len(stale) == 0:
		case t.shade.At.Sub(t.shade.Screens[device.ID].Backgrounds[0]) >= backgroundEach:
			j := w.takeDown(t, device, stale, told)
			j.telling.Background = true
			jobs = append(jobs, j)
		default:
			owed := true
			t.told = append(t.told, model.Telling{Device: device.ID, Badge: -1, Owed: &owed})
		}
	}
	return jobs
}

// takeDown returns the job that tells a device what to take down. It repeats as much as fits
// of what the device was told before: providers keep only the newest dismissal for a phone
// that is away.
func (w *Workers) takeDown(t *task, device devices.Device, stale, told []model.Shown) *job {
	read := stale[:min(len(stale), maxTold)]
	j := w.dismissal(t, device, push.TypeDismiss, &model.Telling{Badge: -1, Read: read, More: len(read) < len(stale)})
	number := func(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
	j.delivery.Data = []push.Field{
		{Name: "type", Value: []byte(`"` + push.TypeDismiss + `"`)},
		{Name: "receiver_id", Value: strconv.AppendInt(nil, t.entry.User, 10)},
		{Name: "unread_notifications", Value: number(t.unreads.Notifications)},
		{Name: "messages", Value: number(t.unreads.Messages)},
		readField(append(slices.Clip(read), told[:min(len(told), maxTold-len(read))]...)),
	}
	return j
}

// dismissal returns a job that shows nothing. Its tag is the same in each of its kind, so that
// a newer one replaces it.
func (w *Workers) dismissal(t *task, device devices.Device, tag string, telling *model.Telling) *job {
	telling.Device = device.ID
	j := newJob(w, t, device, push.Delivery{
		Lane: push.Urgent, Type: push.TypeDismiss,
		Tag: tag, Thread: push.TypeDismiss, Badge: max(telling.Badge, 0), BadgeAlone: telling.Badge >= 0,
		Expires: time.UnixMilli(t.entry.Expires).Add(-t.ahead),
	})
	j.delivery.ID = attemptID(t.entry.ID+tag, device.ID) // an iPhone gets two
	j.telling = telling
	return j
}

// tellAlong adds to a push that an iPhone shows what was read and could not be told before.
func (w *Workers) tellAlong(j *job) {
	t := j.task
	if !t.owes || j.device.Platform != devices.IOS || j.delivery.Silent() {
		return
	}
	stale, _ := t.stale(j.device.ID)
	stale = slices.DeleteFunc(stale, func(s model.Shown) bool { return s.Tag == j.delivery.Tag }) // replaced
	read := stale[:min(len(stale), maxToldAlong)]
	owed := len(read) < len(stale) || slices.ContainsFunc(t.shade.Shown, func(s model.Shown) bool {
		return s.Read && !s.Told && s.Device != j.device.ID
	})
	j.telling = &model.Telling{Device: j.device.ID, Badge: -1, Read: read, Owed: &owed}
	if len(read) > 0 {
		j.delivery.Data = append(slices.Clip(j.delivery.Data), readField(read))
	}
}

// readField returns the member of data that names what was read. At is when the event was
// accepted, by which an app tells it from what was shown later under the same tag.
func readField(read []model.Shown) push.Field {
	type taken struct {
		ID  string `json:"id"`
		Tag string `json:"tag"`
		At  int64  `json:"at"` // ms
	}
	list := make([]taken, len(read))
	for i, r := range read {
		list[i] = taken{ID: r.ID, Tag: r.Tag}
		if at, err := model.IDTime(r.ID); err == nil {
			list[i].At = at.UnixMilli()
		}
	}
	value, _ := json.Marshal(list) // strings and numbers always marshal
	return push.Field{Name: push.FieldRead, Value: value}
}

// readable reports whether the push shows something that can be read.
func (t *task) readable(w *Workers) bool {
	_, message := model.SubjectConversation(t.entry.Tag)
	return message && t.entry.Type == "message" || w.Types.Spec(t.entry.Type).Listed
}

// noteDropped notes that devices may show a push that is dropped: an attempt before may have
// arrived, such as that of a process that died. If it is read, settling asks for a dismissal.
func (t *task) noteDropped(w *Workers) {
	if !w.Inbox.Shades.On() || !t.again || !t.readable(w) {
		return
	}
	t.shown = make(map[string]int)
	for _, device := range t.devices {
		switch {
		case device.Platform == devices.Web || t.entry.Owed != "" && t.entry.Owed != device.ID:
		case device.Platform == devices.IOS:
			t.shown[device.ID] = model.UnknownBadge
		default:
			t.shown[device.ID] = -1
		}
	}
}

// noteShown notes what an accepted push has changed on a device's screen.
func (w *Workers) noteShown(j *job) {
	t := j.task
	if !w.Inbox.Shades.On() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if j.telling != nil {
		t.told = append(t.told, *j.telling)
	}
	if t.entry.Dismisses() || j.delivery.Silent() || !t.readable(w) || j.device.Platform == devices.Web {
		return
	}
	if t.shown == nil {
		t.shown = make(map[string]int)
	}
	t.shown[j.device.ID] = -1
	if j.device.Platform == devices.IOS {
		t.shown[j.device.ID] = j.delivery.Badge
	}
}

// shadeChanges returns what settling a task changes in the shade.
func (w *Workers) shadeChanges(t *task) (changes []outbox.Addition) {
	add := func(keys []string, args []any) {
		changes = append(changes, outbox.Addition{Fragment: shadeFragment, Keys: keys, Args: args})
	}
	if len(t.shown) > 0 {
		add(w.Inbox.Shades.Shown(t.entry.User, cmp.Or(t.entry.Tag, t.entry.ID), t.entry.ID, t.looked, t.shown))
	}
	for i := range t.told {
		add(w.Inbox.Shades.Told(t.entry.User, t.looked, &t.told[i]))
	}
	return changes
}
