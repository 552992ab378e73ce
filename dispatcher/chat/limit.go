package chat

import (
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// A Rate is a rate limit: how many a second, and how many at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// A LimitError reports that a user has sent more messages than Options.Sends allows.
type LimitError struct {
	// RetryAfter is how long to wait until the next one may be sent.
	RetryAfter time.Duration
}

// Error says how long to wait.
func (e *LimitError) Error() string {
	return fmt.Sprintf("too many messages, try again in %v", e.RetryAfter)
}

// maxLimited is how many users a limiter tracks, the most recent senders. Any other user
// starts with a full burst.
const maxLimited = 1 << 16

// A limiter is a rate limit for each user in this process. It is safe for concurrent use.
type limiter struct {
	rate  Rate
	users *lru.Cache[int64, *rate.Limiter]
}

func newLimiter(r Rate) *limiter {
	users, err := lru.New[int64, *rate.Limiter](maxLimited)
	if err != nil {
		panic(err) // the size is above 0
	}
	return &limiter{rate: r, users: users}
}

// take counts one message of a user. The error is a *LimitError.
func (l *limiter) take(user int64, now time.Time) error {
	bucket, ok := l.users.Get(user)
	if !ok {
		fresh := rate.NewLimiter(rate.Limit(l.rate.PerSecond), l.rate.Burst)
		if bucket, ok, _ = l.users.PeekOrAdd(user, fresh); !ok {
			bucket = fresh
		}
	}
	r := bucket.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return &LimitError{RetryAfter: wait}
	}
	return nil
}
