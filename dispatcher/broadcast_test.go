package dispatcher

import (
	"context"
	"fmt"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
)

// cast starts a broadcast of a test.
func (w *world) cast(raw string) Published {
	w.t.Helper()
	b, err := w.ParseBroadcast([]byte(raw))
	if err != nil {
		w.t.Fatal(err)
	}
	p := w.StartBroadcast(context.Background(), "service:test", b)
	if p.Err != nil {
		w.t.Fatal(p.Err)
	}
	return p
}

// reaches waits until a broadcast is as wanted.
func (w *world) reaches(id string, what string, ok func(BroadcastStatus) bool) BroadcastStatus {
	w.t.Helper()
	var s BroadcastStatus
	w.eventually(what, func() bool {
		var err error
		if s, err = w.Broadcast(context.Background(), "service:test", id); err != nil {
			w.t.Fatal(err)
		}
		return ok(s)
	})
	return s
}

func (w *world) reachesState(id string, state BroadcastState) BroadcastStatus {
	w.t.Helper()
	return w.reaches(id, "broadcast "+string(state), func(s BroadcastStatus) bool { return s.State == state })
}

func TestBroadcastToEveryone(t *testing.T) {
	w := newWorld(t)
	for user := int64(1); user <= 40; user++ {
		w.register(user, devices.Android, fmt.Sprint("token", user))
	}
	w.run()
	w.cast(`{"id":"all","message":"Promo","title":"Hemat","details":{"url":"https://example.com"}}`)
	s := w.reachesState("all", BroadcastDone)
	if s.Sent != 40 || s.Total != 40 || s.Skipped != 0 {
		t.Errorf("%+v", s)
	}
	sent := w.android.wait(t, "pushes", count(40))
	w.settled()
	s = w.reaches("all", "pushes", func(s BroadcastStatus) bool { return s.Pushed == 40 })
	fmt.Println(s, sent[0].Body, sent[0].Title, len(sent))
	list, err := w.Inbox.List(context.Background(), 7, w.PromoTypes(), 0, 10)
	fmt.Println(list, err)
}
