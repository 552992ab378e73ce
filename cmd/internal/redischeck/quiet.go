package redischeck

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// maxHeld is how many log records wait for the Monitor's next look. Others are written at
// once.
const maxHeld = 256

// A Quiet is a log handler that drops what all parts of Kabar say about a Redis that does
// not serve: the [Monitor] says it for all, once at the start, once a minute and once at the
// end. A record that may be about Redis waits until the Monitor has looked after it: then it
// is dropped if a shard does not serve, and written otherwise. It is safe for concurrent use.
type Quiet struct {
	next  slog.Handler
	state *quietState // of all handlers that With derives from one
}

type quietState struct {
	other func(error) bool

	mu      sync.Mutex
	watched bool     // a Monitor looks
	away    bool     // a shard did not serve at the last look
	held    []func() // records; each function writes one
	looking int      // of held: those that were there when the look began
	dropped int      // since the Monitor last said so
}

// NewQuiet returns a handler that writes to next. other reports whether an error is about
// something else than Redis; it may be nil. Nothing is dropped before a Monitor looks.
func NewQuiet(next slog.Handler, other func(error) bool) *Quiet {
	if other == nil {
		other = func(error) bool { return false }
	}
	return &Quiet{next: next, state: &quietState{other: other}}
}

// Enabled implements slog.Handler.
func (q *Quiet) Enabled(ctx context.Context, l slog.Level) bool { return q.next.Enabled(ctx, l) }

// WithAttrs implements slog.Handler.
func (q *Quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Quiet{q.next.WithAttrs(attrs), q.state}
}

// WithGroup implements slog.Handler.
func (q *Quiet) WithGroup(name string) slog.Handler {
	return &Quiet{q.next.WithGroup(name), q.state}
}

// Handle implements slog.Handler.
func (q *Quiet) Handle(ctx context.Context, r slog.Record) error {
	if ctx.Value(aloud{}) != nil || r.Level < slog.LevelWarn || !q.state.mayBeRedis(r) {
		return q.next.Handle(ctx, r)
	}
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.watched && s.away:
		s.dropped++
		return nil
	case !s.watched || len(s.held) == maxHeld:
		return q.next.Handle(ctx, r)
	}
	kept := r.Clone()
	s.held = append(s.held, func() { _ = q.next.Handle(context.WithoutCancel(ctx), kept) })
	return nil
}

// Close writes the records that wait. From then on all are written at once.
func (q *Quiet) Close() error {
	q.state.begin()
	q.state.looked(false)
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.watched = false
	return nil
}

// mayBeRedis reports whether a record tells of an error as a Redis that does not serve
// causes.
func (s *quietState) mayBeRedis(r slog.Record) (may bool) {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && a.Key == "error" {
			may = !s.other(err) && unserved(err)
		}
		return !may
	})
	return may
}

// unserved reports whether an error is one of those that Redis, or the network before it,
// causes while it does not serve.
func unserved(err error) bool {
	var network net.Error
	if errors.As(err, &network) {
		return true
	}
	for _, known := range []error{
		io.EOF, io.ErrUnexpectedEOF, context.DeadlineExceeded, redis.ErrPoolTimeout, redis.ErrPoolExhausted,
		rdb.ErrSilent, rdb.ErrFull, rdb.ErrReplicas,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	for word := range states {
		if hasPrefix(err, word) {
			return true
		}
	}
	return false
}

// begin notes that the Monitor begins to look.
func (s *quietState) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched, s.looking = true, len(s.held)
}

// looked notes what the Monitor has seen, and drops or writes the records that waited for it.
func (s *quietState) looked(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	if away {
		s.dropped += len(s.held)
		s.held = nil
		return
	}
	for _, write := range s.held[:s.looking] {
		write()
	}
	s.held = s.held[s.looking:]
	s.looking = 0
}

// take returns the number of records that were dropped since the last call.
func (s *quietState) take() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, s.dropped = s.dropped, 0
	return n
}

// aloud marks the context of records that a Quiet writes in any case.
type aloud struct{}

func withAloud(ctx context.Context) context.Context { return context.WithValue(ctx, aloud{}, true) }
