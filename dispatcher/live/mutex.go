package live

import "sync"

// A mutex is a sync.Mutex with a name in the lock order; see the package comment.
// It costs no memory and, outside of tests, no more than looking at a variable.
type mutex[N lockName] struct{ sync.Mutex }

// A lockName names all mutexes of one kind.
type lockName interface{ name() string }

type (
	shardLock    struct{}
	audienceLock struct{}
	socketLock   struct{}
	busLock      struct{}
	lineLock     struct{}
	countingLock struct{}
	connLock     struct{}
	gateLock     struct{}
)

func (shardLock) name() string    { return "shard" }
func (audienceLock) name() string { return "audience" }
func (socketLock) name() string   { return "socket" }
func (busLock) name() string      { return "bus" }
func (lineLock) name() string     { return "line" }
func (countingLock) name() string { return "counting" }
func (connLock) name() string     { return "conn" }
func (gateLock) name() string     { return "gate" }

// onLock and onUnlock are set by tests, to check the lock order. They are called
// before a mutex is locked, and after it was unlocked.
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
