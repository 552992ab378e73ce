package inbox

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// liveErrorsEvery is how often it is said that live frames are refused.
const liveErrorsEvery = time.Minute

// liveErrors says that Redis refuses to publish live frames, mostly because the user
// with whom Kabar signs in lacks the right to channels. Scripts store what they have to
// store all the same.
type liveErrors struct {
	log  *slog.Logger
	said atomic.Int64 // when, Unix ns
}

// note takes the live_error of a script's reply.
func (l *liveErrors) note(reply any) {
	problem, _ := reply.(string)
	if problem == "" || l.log == nil {
		return
	}
	now, said := time.Now().UnixNano(), l.said.Load()
	if now-said >= int64(liveErrorsEvery) && l.said.CompareAndSwap(said, now) {
		l.log.Error("Redis refuses to publish to live sockets, which see what is new only when they reconnect", "error", problem)
	}
}
