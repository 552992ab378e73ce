package dispatcher

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

func TestRequeueAndDrop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	w.android.answer = func(*push.Delivery) push.Result {
		return push.Result{Outcome: push.Refused, Reason: "INVALID_ARGUMENT"}
	}
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	w.publish(strings.Replace(promo, "promo-1", "promo-2", 1))
	w.eventually("two dead letters", func() bool { _, _, dead := w.left(); return dead == 2 })
	w.android.mu.Lock()
	w.android.answer = nil
	w.android.mu.Unlock()
	letters, err := w.Outbox.DeadLetters(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Outbox.Requeue(ctx, letters[0].ID), w.Outbox.Drop(ctx, letters[1].ID)); err != nil {
		t.Fatal(err)
	}
	w.android.wait(t, "requeued", count(3))
	w.settled()
	if _, _, dead := w.left(); dead != 0 {
		t.Errorf("%d dead letters are left", dead)
	}
	for _, id := range []string{letters[0].ID, letters[1].ID, "", "x-1-1", "99-1-1", "0-1"} {
		if err := w.Outbox.Drop(ctx, id); !errors.Is(err, outbox.ErrNoLetter) {
			t.Errorf("drop %q: %v", id, err)
		}
	}
}
