package broadcast

import (
	"errors"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/inbox"
)

func TestTimeLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    Status
		want time.Duration
	}{
		{Status{State: Running, Total: 1000, Walked: 400, Sent: 100, Pace: 10}, 15 * time.Second},
		{Status{State: Running, Total: 1000, Walked: 400, Sent: 100}, -1},
		{Status{State: Running, Total: 1000, Pace: 10}, -1},
		{Status{State: Paused, Total: 1000, Walked: 400, Sent: 100, Pace: 10}, -1},
		{Status{State: Cancelled, Total: 1000, Walked: 400}, 0},
	} {
		if got := c.s.left(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}

// The content that was stored first is kept. Each service has its own ids.
func TestStartIsIdempotent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, sharedRedis(t))
	for _, c := range []struct {
		source, raw string
		duplicate   bool
		err         error
	}{
		{source: "service:a", raw: `{"id":"x","message":"m","audience":{"user_ids":[1,2]}}`},
		{source: "service:a", raw: `{"audience": {"user_ids": [1, 2]}, "message":"m", "id":"x"}`, duplicate: true},
		{source: "service:a", raw: `{"id":"x","message":"m","audience":"all"}`, err: inbox.ErrConflict},
		{source: "service:b", raw: `{"id":"x","message":"m","audience":"all"}`},
	} {
		b, err := g.Parse([]byte(c.raw))
		if err != nil {
			t.Fatal(err)
		}
		if duplicate, err := g.Start(t.Context(), c.source, b); duplicate != c.duplicate || !errors.Is(err, c.err) {
			t.Errorf("%s %s: duplicate %t, %v", c.source, c.raw, duplicate, err)
		}
	}
	all, err := g.List(t.Context(), 10)
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
}
