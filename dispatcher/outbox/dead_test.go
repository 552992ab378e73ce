package outbox

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// letterEntry returns an entry that was accepted a minute ago and has had many attempts.
func letterEntry(body string) *Entry {
	return &Entry{
		User: 66, Type: "nego", Tag: "nego:1", Expires: now.Add(time.Minute).UnixMilli(), Until: now.UnixMilli(), Attempt: 9,
		ID: model.NewID(now.Add(-time.Minute)), Body: body,
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := letterEntry(`{"type":"nego"}`)
	oldest := w.bury(3, now.Add(-3*time.Second), push.Urgent, e.Value())
	newest := w.bury(0, now.Add(-time.Second), push.Bulk, "unreadable")
	middle := w.bury(3, now.Add(-2*time.Second), push.Chat, letterEntry("@b1").Value())
	sameTime := w.bury(2, now.Add(-2*time.Second), push.Chat, "unreadable")

	letters, err := w.DeadLetters(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	if diff := cmp.Diff([]string{newest, sameTime, middle, oldest}, ids); diff != "" {
		t.Fatal(diff)
	}
	want := DeadLetter{
		ID: oldest, BuriedAt: now.Add(-3 * time.Second), AcceptedAt: now.Add(-time.Minute), Lane: "urgent", Receiver: 66,
		Device: "d1", Type: "nego", Reason: "expired", Attempts: 9, Body: `{"type":"nego"}`,
	}
	if diff := cmp.Diff(want, letters[3], cmpopts.IgnoreUnexported(DeadLetter{})); diff != "" {
		t.Error(diff)
	}
	want = DeadLetter{ID: newest, BuriedAt: now.Add(-time.Second), Lane: "bulk", Device: "d1", Reason: "expired"}
	if diff := cmp.Diff(want, letters[0], cmpopts.IgnoreUnexported(DeadLetter{})); diff != "" {
		t.Errorf("an unreadable one: %s", diff)
	}
	if few, err := w.DeadLetters(t.Context(), 2); err != nil || len(few) != 2 || few[0].ID != newest {
		t.Errorf("the two newest: %+v, %v", few, err)
	}
	if l, err := w.DeadLetter(t.Context(), middle); err != nil || l.Body != `{"type":"discount"}` {
		t.Errorf("a broadcast's: %+v, %v", l, err)
	}
}

func TestRequeue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ expires, want time.Time }{
		"an entry that expires first": {now.Add(time.Minute), now.Add(time.Hour)},
		"an entry that expires later": {now.Add(2 * time.Hour), now.Add(2 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := letterEntry("@b1")
			e.Expires = c.expires.UnixMilli()
			id := w.bury(1, now, push.Urgent, e.Value())
			kept := w.bury(1, now.Add(time.Second), push.Urgent, e.Value())
			if err := w.Requeue(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			want := *e
			want.Attempt, want.Until, want.Expires = 0, now.Add(time.Hour).UnixMilli(), c.want.UnixMilli()
			want.Since = now.UnixMilli()
			if diff := cmp.Diff([]string{want.Value()}, w.values(w.StreamKey(1, push.Urgent))); diff != "" {
				t.Errorf("queued: %s", diff)
			}
			if err := w.Requeue(t.Context(), id); !errors.Is(err, ErrNoLetter) {
				t.Errorf("requeued twice: %v", err)
			}
			letters, err := w.DeadLetters(t.Context(), 10)
			if err != nil || len(letters) != 1 || letters[0].ID != kept {
				t.Errorf("left %+v, %v", letters, err)
			}
		})
	}
}

func TestRequeueKeepsWhatIsUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.bury(1, now, push.Urgent, "unreadable")
	if err := w.Requeue(t.Context(), id); err == nil || errors.Is(err, ErrNoLetter) {
		t.Errorf("requeued: %v", err)
	}
	if l, err := w.DeadLetter(t.Context(), id); err != nil || l.ID != id {
		t.Errorf("left %+v, %v", l, err)
	}
	if queued := w.values(w.StreamKey(1, push.Urgent)); len(queued) != 0 {
		t.Errorf("queued %v", queued)
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.bury(1, now, push.Urgent, "dropped")
	w.bury(1, now.Add(time.Second), push.Urgent, "kept")
	if err := w.Drop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := w.Drop(t.Context(), id); !errors.Is(err, ErrNoLetter) {
		t.Errorf("dropped twice: %v", err)
	}
	if left := w.values(w.deadKey(1)); !slices.Equal(left, []string{"kept"}) {
		t.Errorf("left %v", left)
	}
	for _, l := range push.Lanes {
		if queued := w.values(w.StreamKey(1, l)); len(queued) != 0 {
			t.Errorf("queued %v", queued)
		}
	}
}

func TestUnknownLetters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bury(1, time.UnixMilli(5), push.Urgent, "v")
	for _, id := range []string{"", "1", "1-5", "1-5-", "1-5-1", "2-5-0", "4-5-0", "-1-5-0", "x-5-0", "1-x-0", "1-5-0-0", "1--5-0"} {
		if l, err := w.DeadLetter(t.Context(), id); !errors.Is(err, ErrNoLetter) {
			t.Errorf("%q: %+v, %v", id, l, err)
		}
		if err := w.Requeue(t.Context(), id); !errors.Is(err, ErrNoLetter) {
			t.Errorf("requeue %q: %v", id, err)
		}
		if err := w.Drop(t.Context(), id); !errors.Is(err, ErrNoLetter) {
			t.Errorf("drop %q: %v", id, err)
		}
	}
	if left := w.values(w.deadKey(1)); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}
