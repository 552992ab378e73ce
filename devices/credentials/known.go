package credentials

import (
	"sync"
	"time"
)

// The bounds of what a process remembers of sign-ins.
const (
	knownFor  = time.Hour
	knownHalf = 1 << 15 // sign-ins
)

// A signIn is an attempt, without the secret itself.
type signIn struct {
	user           int64
	token, address [digestSize]byte // digests
}

// knownGood remembers sign-ins that were right within knownFor: at least the
// knownHalf newest, at most twice as many. The zero value is ready for use; it
// is safe for concurrent use.
type knownGood struct {
	mu sync.Mutex
	// Recent is added to; when it is full it becomes older, and what was older
	// is dropped.
	recent, older map[signIn]time.Time
}

// has reports whether the sign-in was right within knownFor before now.
func (k *knownGood) has(in signIn, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.recent[in]
	if !ok {
		at, ok = k.older[in]
	}
	return ok && now.Sub(at) < knownFor
}

// add remembers that the sign-in was right.
func (k *knownGood) add(in signIn, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.recent[in]; !ok && len(k.recent) >= knownHalf {
		k.older, k.recent = k.recent, nil
	}
	if k.recent == nil {
		k.recent = make(map[signIn]time.Time)
	}
	k.recent[in] = now
}

// remove forgets the sign-in.
func (k *knownGood) remove(in signIn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.recent, in)
	delete(k.older, in)
}
