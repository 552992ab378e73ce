package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// ErrUnavailable says that a credential cannot be verified for now. It says nothing of
// whether the credential is good: try again later.
var ErrUnavailable = errors.New("credentials cannot be verified for now")

// A Guard limits failed sign-ins by address, and remembers credentials that were found to
// be good, for all processes. [credentials.Store] is one, and documents the methods and
// their errors.
type Guard interface {
	CountFailure(ctx context.Context, user int64, address string) error
	CountCall(ctx context.Context, user int64, address string) error
	Forgive(ctx context.Context, user int64, address string) error
	LastSuccess(ctx context.Context, user int64, token, address string) (ago time.Duration, known bool, err error)
	Remember(ctx context.Context, user int64, token, address string) error
	Forget(ctx context.Context, user int64, token, address string) error
}

// Options are the options of every way to sign in. Guard and AddUser are required.
type Options struct {
	Guard Guard
	// AddUser stores that a user exists, so that others can write to them. It is
	// called for a user who signs in, about once an hour. Its error fails the
	// sign-in.
	AddUser func(ctx context.Context, user int64) error
	// Log gets a line, at most every 10 seconds, when credentials cannot be verified; never
	// the credentials. Nothing is logged when nil.
	Log *slog.Logger
	// Timeout limits a request to another server, from its start to the end of the answer: 3 s
	// when 0.
	Timeout time.Duration
	// Now is the clock: time.Now when nil.
	Now func() time.Time
}

const (
	addInterval  = time.Hour
	maxAdded     = 1 << 16 // users whom a process remembers to have added
	warnInterval = 10 * time.Second
)

// A verifier is the part that all ways to sign in share. It is safe for concurrent use.
type verifier struct {
	Options
	added    *lru.Cache[int64, time.Time] // when each user was added last
	warnings rate.Sometimes
}

func newVerifier(o Options) *verifier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &verifier{Options: o, added: newCache[int64, time.Time](maxAdded), warnings: rate.Sometimes{Interval: warnInterval}}
}

// newCache returns a cache that evicts what was used least recently. Its entries carry
// their own times, because the expiring cache of the same library starts a goroutine
// that cannot be stopped.
func newCache[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return c
}

// addUser adds a user whose credential is good, unless that was done within the last
// hour.
func (v *verifier) addUser(ctx context.Context, user int64) error {
	now := v.Now()
	if at, ok := v.added.Get(user); ok && now.Sub(at) < addInterval {
		return nil
	}
	if err := v.AddUser(ctx, user); err != nil {
		return fmt.Errorf("add a user who signs in: %w", err)
	}
	v.added.Add(user, now)
	return nil
}

// warn logs at most once in a warnInterval.
func (v *verifier) warn(message string, err error) {
	v.warnings.Do(func() { v.Log.Warn(message, "error", err) })
}
