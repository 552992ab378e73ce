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

// ErrUnavailable says that nobody can tell for now whether a credential is good.
// It is neither a yes nor a no: try again later.
var ErrUnavailable = errors.New("credentials cannot be verified for now")

// Limits bounds failed sign-ins by user and address together. [devices.Registry]
// does, and documents the methods and their errors.
type Limits interface {
	CountFailure(ctx context.Context, user int64, address string) error
	Forgive(ctx context.Context, user int64, address string) error
}

// Options are what every way to sign in needs. Limits and Welcome are required.
type Options struct {
	Limits Limits
	// Welcome notes that a user exists, so that others can write to them. It is
	// called for a user who signs in, about once an hour. Its error fails the
	// sign-in.
	Welcome func(ctx context.Context, user int64) error
	// Log is told, now and then, that credentials cannot be verified; never what
	// they are. Nothing is logged when nil.
	Log *slog.Logger
	// Now is the clock: time.Now when nil.
	Now func() time.Time
}

const (
	welcomeAgain = time.Hour
	maxWelcomed  = 1 << 16 // users whom a process remembers to have welcomed
	warnEvery    = 10 * time.Second
)

// A door is what the ways to sign in share. It is safe for concurrent use.
type door struct {
	Options
	welcomed *lru.Cache[int64, time.Time]
	warnings rate.Sometimes
}

func newDoor(o Options) *door {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &door{Options: o, welcomed: newCache[int64, time.Time](maxWelcomed), warnings: rate.Sometimes{Interval: warnEvery}}
}

// newCache returns a cache of the most recently used. Its entries carry their own
// times: the cache that forgets by itself does so in a goroutine that cannot be
// stopped.
func newCache[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return c
}

// welcome lets a user in whose credential is good.
func (d *door) welcome(ctx context.Context, user int64) error {
	now := d.Now()
	if at, ok := d.welcomed.Get(user); ok && now.Sub(at) < welcomeAgain {
		return nil
	}
	if err := d.Welcome(ctx, user); err != nil {
		return fmt.Errorf("welcome a user: %w", err)
	}
	d.welcomed.Add(user, now)
	return nil
}

// warn logs now and then.
func (d *door) warn(message string, err error) {
	d.warnings.Do(func() { d.Log.Warn(message, "error", err) })
}
