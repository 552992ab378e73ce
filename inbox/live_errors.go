package inbox

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// liveErrorsEvery is the interval at which refused live frames are logged.
const liveErrorsEvery = time.Minute

// liveErrors logs that Redis refuses to publish live frames, usually because Kabar's Redis
// user lacks the right to channels. The scripts store everything else.
type liveErrors struct {
	log  *slog.Logger
	said atomic.Int64 // time of the last log line, Unix ns
}

// note checks the live_error in a script's reply.
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
