package delivery

import (
	"log/slog"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	unreachableAfter = 3               // attempts in a row without an answer
	unreachableFor   = 5 * time.Second // and no answer for so long
	repeatLog        = time.Minute     // between two log lines while a provider is unreachable
	forgetLost       = 2 * MaxBackoff
)

// A reach knows whether a provider answers this gateway. It says so with one log line when
// it stops answering, one a minute, and one when it answers again. It is safe for
// concurrent use.
type reach struct {
	gauge interface{ Set(float64) }

	mu       sync.Mutex
	lost     int       // attempts without an answer since the last answer
	since    time.Time // of the first of them
	reason   push.Reason
	lastLost time.Time
	down     bool
	logged   time.Time
	changed  bool // since the last log line
}

func newReach(m *metrics, route push.Route) *reach {
	r := &reach{gauge: m.unreachable.WithLabelValues(of(route)...)}
	r.gauge.Set(0)
	return r
}

// unanswered are the reasons of attempts that got no answer.
var unanswered = map[push.Reason]bool{"connection": true, "timeout": true, "tls_certificate": true, "access_token": true}

// note takes the result of an attempt.
func (r *reach) note(now time.Time, result *push.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !result.Lost && !unanswered[result.Reason] {
		r.lost = 0
		if r.down {
			r.down, r.changed = false, true
			r.gauge.Set(0)
		}
		return
	}
	if r.lost == 0 {
		r.since = now
	}
	r.lost++
	r.reason, r.lastLost = result.Reason, now
	if r.lost >= unreachableAfter && now.Sub(r.since) >= unreachableFor && !r.down {
		r.down, r.changed = true, true
		r.gauge.Set(1)
	}
}

// log writes the log line that is due, if any.
func (r *reach) log(log *slog.Logger, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down && now.Sub(r.lastLost) > forgetLost { // nothing is sent: nobody knows
		r.down, r.changed, r.lost = false, false, 0
		r.gauge.Set(0)
	}
	switch {
	case r.down && (r.changed || now.Sub(r.logged) >= repeatLog):
		log.Error("the provider does not answer: pushes wait for their retries",
			"reason", r.reason, "attempts", r.lost, "for", now.Sub(r.since).Round(time.Second))
	case !r.down && r.changed:
		log.Info("the provider answers again")
	default:
		return
	}
	r.changed, r.logged = false, now
}
