package live

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"
)

// userSockets are the sockets of one user in this process. They are kept for
// Options.Linger after the last socket has left.
type userSockets struct {
	id      int64 // of the user
	channel string
	number  int64         // unique in this process
	ready   chan struct{} // closed when the subscription is confirmed
	conn    atomic.Pointer[pubsubConn]
	changes atomic.Int64 // how often something published may have changed the unreads

	mu        mutex[userLock]
	sockets   []*socket // copied on every change, so that each iterates without the mutex
	confirmed bool
	gone      bool      // removed from its shard; a new one has to be made
	left      time.Time // when the last socket left
	counting  bool      // is in countQueue.list; guarded by countQueue.mu
}

// A shard holds a part of the users.
type shard struct {
	mu    mutex[shardLock]
	users map[string]*userSockets // by channel
}

func (h *Hub) shard(channel string) *shard {
	return &h.shards[maphash.String(h.seed, channel)%shards]
}

// all returns the users of a shard.
func (s *shard) all() []*userSockets {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*userSockets, 0, len(s.users))
	for _, u := range s.users {
		all = append(all, u)
	}
	return all
}

// users returns the users of all shards.
func (h *Hub) users() []*userSockets {
	var all []*userSockets
	for i := range h.shards {
		all = append(all, h.shards[i].all()...)
	}
	return all
}

// find returns the user of a channel, or nil.
func (h *Hub) find(channel string) *userSockets {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[channel]
}

// enter adds a socket to those of its user. fresh is true when the user had none
// and has to be subscribed. ok is false when the user has too many already.
func (h *Hub) enter(s *socket, user int64) (fresh, ok bool) {
	channel := h.Channels.Channel(user)
	for {
		u, created := h.findOrCreate(channel, user)
		fresh = created
		u.mu.Lock()
		if u.gone {
			u.mu.Unlock()
			continue
		}
		s.user = u
		if ok = len(u.sockets) < h.MaxSockets; ok {
			u.sockets = append(slices.Clip(u.sockets), s)
		}
		u.mu.Unlock()
		return fresh, ok
	}
}

func (h *Hub) findOrCreate(channel string, user int64) (u *userSockets, created bool) {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if u = s.users[channel]; u != nil {
		return u, false
	}
	u = &userSockets{id: user, channel: channel, number: h.created.Add(1), ready: make(chan struct{}), left: time.Now()}
	s.users[channel] = u
	return u, true
}

// remove removes a socket. It does nothing to one that was never added.
func (u *userSockets) remove(s *socket) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.sockets, s)
	if i < 0 {
		return
	}
	if u.sockets = slices.Concat(u.sockets[:i], u.sockets[i+1:]); len(u.sockets) == 0 {
		u.left = time.Now()
	}
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

// removeIdle removes the users whose last socket left before a moment, and returns
// them.
func (s *shard) removeIdle(before time.Time) []*userSockets {
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []*userSockets
	for channel, u := range s.users {
		u.mu.Lock()
		if len(u.sockets) == 0 && u.left.Before(before) {
			u.gone = true
			delete(s.users, channel)
			idle = append(idle, u)
		}
		u.mu.Unlock()
	}
	return idle
}
