package live

import (
	"hash/maphash"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

const shards = 64 // of a registry

// A registry holds the users who have sockets in this process. It is divided into
// shards, so that its mutexes are held for a short time only.
type registry struct {
	maxSockets int // of one user
	seed       maphash.Seed
	shards     [shards]shard
	created    atomic.Int64 // userSockets created so far
}

// A shard holds a part of the users.
type shard struct {
	mu    mutex[shardLock]
	users map[string]*userSockets // by channel
	idle  map[*userSockets]bool   // those without sockets, and some who have come back since
}

func newRegistry(maxSockets int) *registry {
	r := &registry{maxSockets: maxSockets, seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].users = make(map[string]*userSockets)
		r.shards[i].idle = make(map[*userSockets]bool)
	}
	return r
}

func (r *registry) shard(channel string) *shard {
	return &r.shards[maphash.String(r.seed, channel)%shards]
}

// byShard returns the users of one shard after the other.
func (r *registry) byShard() iter.Seq[[]*userSockets] {
	return func(yield func([]*userSockets) bool) {
		for i := range r.shards {
			if !yield(r.shards[i].all()) {
				return
			}
		}
	}
}

// all returns the users of all shards.
func (r *registry) all() []*userSockets {
	var all []*userSockets
	for users := range r.byShard() {
		all = append(all, users...)
	}
	return all
}

// find returns the user of a channel, or nil.
func (r *registry) find(channel string) *userSockets {
	s := r.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[channel]
}

// add adds a socket to those of its user. fresh is true when the user had none and
// has to be subscribed. ok is false when the user has too many already.
func (r *registry) add(s *socket, user int64, channel string) (fresh, ok bool) {
	for {
		u, created := r.findOrCreate(channel, user)
		fresh = created
		u.mu.Lock()
		if u.gone {
			u.mu.Unlock()
			continue
		}
		s.user = u
		if ok = len(u.sockets) < r.maxSockets; ok {
			u.sockets = append(slices.Clip(u.sockets), s)
		}
		u.mu.Unlock()
		return fresh, ok
	}
}

func (r *registry) findOrCreate(channel string, user int64) (u *userSockets, created bool) {
	s := r.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if u = s.users[channel]; u != nil {
		return u, false
	}
	u = &userSockets{id: user, channel: channel, number: r.created.Add(1), ready: make(chan struct{}), left: time.Now()}
	s.users[channel] = u
	return u, true
}

// remove removes a socket. If it was the user's last one and atOnce is set, it also removes
// the user, and reports that; if not, removeIdle does later. It does nothing to a socket
// that was never added.
func (r *registry) remove(s *socket, atOnce bool) (userRemoved bool) {
	u := s.user
	sh := r.shard(u.channel)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.remove(s) {
		return false
	}
	if !atOnce {
		sh.idle[u] = true
		return false
	}
	sh.remove(u)
	return true
}

// removeIdle removes the users whose last socket left longer ago than linger, and calls
// removed for each of them, without holding a mutex.
func (r *registry) removeIdle(linger time.Duration, removed func(u *userSockets)) {
	for i := range r.shards {
		for _, u := range r.shards[i].removeIdle(time.Now().Add(-linger)) {
			removed(u)
		}
	}
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

// removeIdle removes the users whose last socket left before a moment, and returns
// them.
func (s *shard) removeIdle(before time.Time) []*userSockets {
	s.mu.Lock()
	defer s.mu.Unlock()
	var removed []*userSockets
	for u := range s.idle {
		u.mu.Lock()
		switch {
		case len(u.sockets) > 0:
			delete(s.idle, u)
		case u.left.Before(before):
			s.remove(u)
			removed = append(removed, u)
		}
		u.mu.Unlock()
	}
	return removed
}

// remove removes a user without sockets. s.mu and u.mu are held.
func (s *shard) remove(u *userSockets) {
	u.gone = true
	delete(s.users, u.channel)
	delete(s.idle, u)
}
