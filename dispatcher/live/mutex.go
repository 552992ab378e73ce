package live

import "sync"

// A mutex is a sync.Mutex whose type says where it stands in the lock order, which
// the package comment lists. The name costs no memory, and the hooks of the tests
// cost one comparison.
type mutex[N lockName] struct{ sync.Mutex }

// A lockName is the name of a kind of mutex.
type lockName interface{ name() string }

type (
	shardLock      struct{}
	userLock       struct{}
	socketLock     struct{}
	writeQueueLock struct{}
	pubsubLock     struct{}
	pubsubConnLock struct{}
	countQueueLock struct{}
	presenceLock   struct{}
	connLock       struct{}
	gateLock       struct{}
)

func (shardLock) name() string      { return "shard" }
func (userLock) name() string       { return "user" }
func (socketLock) name() string     { return "socket" }
func (writeQueueLock) name() string { return "writeQueue" }
func (pubsubLock) name() string     { return "pubsub" }
func (pubsubConnLock) name() string { return "pubsubConn" }
func (countQueueLock) name() string { return "countQueue" }
func (presenceLock) name() string   { return "presence" }
func (connLock) name() string       { return "conn" }
func (gateLock) name() string       { return "gate" }

// Tests set onLock and onUnlock to check the lock order. onLock is called before a
// mutex is locked, onUnlock after it was unlocked.
var onLock, onUnlock func(name string)

// Lock locks m.
func (m *mutex[N]) Lock() {
	if onLock != nil {
		var n N
		onLock(n.name())
	}
	m.Mutex.Lock()
}

// Unlock unlocks m.
func (m *mutex[N]) Unlock() {
	m.Mutex.Unlock()
	if onUnlock != nil {
		var n N
		onUnlock(n.name())
	}
}
