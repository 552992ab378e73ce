package delivery

import (
	"context"
	"sync"
	"time"
)

// stormEvery is how long a count of a storm is used.
const stormEvery = time.Second

// A stormCount holds the newest count of the devices that were called dead.
type stormCount struct {
	mu    sync.Mutex // held while Redis counts, so that concurrent callers share one count
	at    time.Time
	storm storm
	shown bool // whether the log and the metric say that a storm lasts
}

// stormNow returns how many devices of the app are called dead. If they cannot be counted it
// assumes a storm, so that nobody is forgotten by mistake.
func (a *app) stormNow(ctx context.Context) storm {
	c := &a.storms
	c.mu.Lock()
	defer c.mu.Unlock()
	now := a.now()
	if now.Sub(c.at) < stormEvery && !now.Before(c.at) {
		return c.storm
	}
	s, err := a.countNow(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Warn("devices that were called dead cannot be counted: no device is forgotten", "error", err)
		}
		return storm{attempted: few + 1, dead: few + 1, since: now}
	}
	c.at, c.storm = now, s
	a.showStorm()
	return s
}

// countNow counts, after it has told Redis what this gateway has seen.
func (a *app) countNow(ctx context.Context) (storm, error) {
	a.mu.Lock()
	o := observed{seen: a.observed.seen, dead: a.observed.dead, accepted: a.observed.accepted}
	a.observed.seen, a.observed.dead, a.observed.accepted = nil, nil, false
	a.mu.Unlock()
	shared, err := a.observe(ctx, &o)
	if err != nil {
		a.giveBack(&o)
		return storm{}, err
	}
	s, err := a.countStorm(ctx)
	s.accepted, s.since = shared.evidence.accepted, shared.since
	return s, err
}

// showStorm logs and shows a storm that begins or ends. The caller holds the count's mutex.
func (a *app) showStorm() {
	c := &a.storms
	lasts := c.storm.lasts()
	if lasts == c.shown {
		return
	}
	c.shown = lasts
	gauge := a.metrics.storm.WithLabelValues(of(a.route)...)
	if lasts {
		gauge.Set(1)
		a.log.Error("the provider calls many device tokens dead: devices are forgotten an hour later than usual, or not at all",
			"devices", c.storm.dead, "attempted", c.storm.attempted)
		return
	}
	gauge.Set(0)
	a.log.Info("the provider calls few device tokens dead again")
}

// watchStorm counts again while a storm lasts, to notice its end.
func (a *app) watchStorm(ctx context.Context) {
	a.storms.mu.Lock()
	shown := a.storms.shown
	a.storms.mu.Unlock()
	if shown {
		a.stormNow(ctx)
	}
}
