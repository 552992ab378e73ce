package live

import (
	"hash/maphash"
	"slices"
	"sync/atomic"
	"time"
)

// An audience is a user who has sockets in this process, or had some until
// shortly.
type audience struct {
	user    int64
	channel string
	number  int64         // among the audiences of this process
	ready   chan struct{} // closed when the subscription is confirmed
	line    atomic.Pointer[line]
	changes atomic.Int64 // how often something published may have changed the unreads

	mu        mutex[audienceLock]
	sockets   []*socket // replaced, never changed: each walks over it without the mutex
	confirmed bool
	gone      bool      // no longer in its shard: enter another one
	left      time.Time // when the last socket left
	counting  bool      // waits for its unreads to be counted; guarded by counting.mu
}

// A shard is a part of the audiences.
type shard struct {
	mu        mutex[shardLock]
	audiences map[string]*audience // by channel
}

func (h *Hub) shard(channel string) *shard {
	return &h.shards[maphash.String(h.seed, channel)%shards]
}

// all returns the audiences of a shard at this moment.
func (s *shard) all() []*audience {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*audience, 0, len(s.audiences))
	for _, a := range s.audiences {
		all = append(all, a)
	}
	return all
}

// audiences returns those of all shards.
func (h *Hub) audiences() []*audience {
	var all []*audience
	for i := range h.shards {
		all = append(all, h.shards[i].all()...)
	}
	return all
}

// find returns the audience of a channel, or nil.
func (h *Hub) find(channel string) *audience {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.audiences[channel]
}

// enter makes a socket one of its user's. fresh says that the audience is new and
// has to be subscribed; ok is false when the user has too many sockets already.
func (h *Hub) enter(s *socket, user int64) (fresh, ok bool) {
	channel := h.Inbox.Channel(user)
	for {
		a, created := h.audienceOf(channel, user)
		fresh = created
		a.mu.Lock()
		if a.gone {
			a.mu.Unlock()
			continue
		}
		s.audience = a
		if ok = len(a.sockets) < h.MaxSockets; ok {
			a.sockets = append(slices.Clip(a.sockets), s)
		}
		a.mu.Unlock()
		return fresh, ok
	}
}

func (h *Hub) audienceOf(channel string, user int64) (a *audience, fresh bool) {
	s := h.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if a = s.audiences[channel]; a != nil {
		return a, false
	}
	a = &audience{user: user, channel: channel, number: h.created.Add(1), ready: make(chan struct{}), left: time.Now()}
	s.audiences[channel] = a
	return a, true
}

// remove takes a socket out.
func (a *audience) remove(s *socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.sockets, s)
	if i < 0 {
		return
	}
	if a.sockets = slices.Concat(a.sockets[:i], a.sockets[i+1:]); len(a.sockets) == 0 {
		a.left = time.Now()
	}
}

// each calls f for every socket that is there at this moment. f must not block.
func (a *audience) each(f func(s *socket)) {
	a.mu.Lock()
	sockets := a.sockets
	a.mu.Unlock()
	for _, s := range sockets {
		f(s)
	}
}

func (a *audience) empty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sockets) == 0
}

// confirm notes that the subscription is in effect. When it was before, it has
// been renewed, and sockets may have missed something.
func (a *audience) confirm() (renewed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.confirmed {
		return true
	}
	a.confirmed = true
	close(a.ready)
	return false
}

// expired removes from a shard the audiences that have had no socket for a while,
// and returns them.
func (s *shard) expired(before time.Time) []*audience {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []*audience
	for channel, a := range s.audiences {
		a.mu.Lock()
		if len(a.sockets) == 0 && a.left.Before(before) {
			a.gone = true
			delete(s.audiences, channel)
			old = append(old, a)
		}
		a.mu.Unlock()
	}
	return old
}
