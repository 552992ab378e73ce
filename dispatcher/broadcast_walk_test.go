package dispatcher

import (
	"testing"
	"time"
)

// A step waits for as many users as a tick brings, and never for more than the
// limiter holds.
func TestBroadcastStepsAreOfATick(t *testing.T) {
	c, start := &sharedClock{now: time.Now()}, time.Now()
	d := &Dispatcher{Options: Options{Now: c.Now}}
	for _, test := range []struct {
		rate  int
		after time.Duration // since the limiter was empty
		want  int
	}{
		{1, 900 * time.Millisecond, 0},
		{1, 1100 * time.Millisecond, 1},
		{100, 11 * time.Millisecond, 1},
		{1000, 5 * time.Millisecond, 0},
		{1000, 11 * time.Millisecond, 11},
		{1000, time.Hour, castMost},
		{MaxRate, 5 * time.Millisecond, 0},
		{MaxRate, 11 * time.Millisecond, castMost},
	} {
		w := &caster{d: d, def: definition{Rate: test.rate}, limiter: newCastLimiter(test.rate)}
		w.limiter.AllowN(start, w.limiter.Burst())
		c.now = start.Add(test.after)
		if got := w.allowed(); got != test.want {
			t.Errorf("%d a second, after %v: %d, want %d", test.rate, test.after, got, test.want)
		}
	}
}
