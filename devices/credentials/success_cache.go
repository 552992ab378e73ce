package credentials

import (
	"sync"
	"time"
)

// Limits of what a process caches of successful sign-ins.
const (
	successTTL   = time.Hour
	minSuccesses = 1 << 15 // that the cache holds before it evicts any
)

// A signIn is an attempt to sign in, without the secret itself.
type signIn struct {
	user           int64
	token, address [digestSize]byte // digests
}

// successCache holds the sign-ins that succeeded within successTTL: at least the
// minSuccesses newest ones, at most twice as many. The zero value is ready for use; it
// is safe for concurrent use.
type successCache struct {
	mu sync.Mutex
	// New sign-ins go into recent. When that is full it becomes older, and the previous
	// older is evicted.
	recent, older map[signIn]time.Time
}

// has reports whether the sign-in succeeded within successTTL before now.
func (c *successCache) has(in signIn, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.recent[in]
	if !ok {
		at, ok = c.older[in]
	}
	return ok && now.Sub(at) < successTTL
}

// add notes that the sign-in succeeded.
func (c *successCache) add(in signIn, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.recent[in]; !ok && len(c.recent) >= minSuccesses {
		c.older, c.recent = c.recent, nil
	}
	if c.recent == nil {
		c.recent = make(map[signIn]time.Time)
	}
	c.recent[in] = now
}

// remove evicts the sign-in.
func (c *successCache) remove(in signIn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.recent, in)
	delete(c.older, in)
}
