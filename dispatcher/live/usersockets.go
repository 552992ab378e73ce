package live

import (
	"slices"
	"sync/atomic"
	"time"
)

// userSockets are the sockets of one user in this process. They are kept for
// Options.Linger after the last socket has left.
type userSockets struct {
	id      int64 // of the user
	channel string
	number  int64                      // unique in this process
	ready   chan struct{}              // closed when the subscription is confirmed
	conn    atomic.Pointer[pubsubConn] // carries the channel; written under pubsub.mu
	heard   atomic.Pointer[session]    // the session that has confirmed the subscription
	changes atomic.Int64               // how often something published may have changed the unreads

	unsubscribed bool // removed from pubsub for good; guarded by pubsub.mu

	mu        mutex[userLock]
	sockets   []*socket // copied on every change, so that each iterates without the mutex
	confirmed bool
	gone      bool      // removed from the registry; a new one has to be made
	left      time.Time // when the last socket left
	counting  bool      // is in countQueue.list; guarded by countQueue.mu
}

// remove removes a socket, and reports whether it was the last one. It does nothing to one
// that was never added. u.mu is held.
func (u *userSockets) remove(s *socket) (last bool) {
	i := slices.Index(u.sockets, s)
	if i < 0 {
		return false
	}
	if u.sockets = slices.Concat(u.sockets[:i], u.sockets[i+1:]); len(u.sockets) > 0 {
		return false
	}
	u.left = time.Now()
	return true
}

// each calls f for every socket, without holding the mutex. f must not block.
func (u *userSockets) each(f func(s *socket)) {
	u.mu.Lock()
	sockets := u.sockets
	u.mu.Unlock()
	for _, s := range sockets {
		f(s)
	}
}

func (u *userSockets) empty() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.sockets) == 0
}

// confirm records that Redis has confirmed the subscription. again is true when it
// had done so before: then the subscription was renewed, and frames may be missing.
func (u *userSockets) confirm() (again bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.confirmed {
		return true
	}
	u.confirmed = true
	close(u.ready)
	return false
}
