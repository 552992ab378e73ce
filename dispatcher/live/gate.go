package live

// A gate counts sockets or goroutines that are active, and refuses new ones once it
// is closed. Unlike with sync.WaitGroup, enter may be called while somebody waits.
// The zero gate is open.
type gate struct {
	mu     mutex[gateLock]
	inside int
	empty  chan struct{} // nil while the gate is open
}

// enter reports whether the gate is open. If it is, the caller must call leave later.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return false
	}
	g.inside++
	return true
}

// leave undoes one successful enter.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.empty != nil && g.inside == 0 {
		close(g.empty)
	}
}

// close makes enter fail from now on. It returns a channel that is closed when
// everyone has left. Every call returns the same channel.
func (g *gate) close() (empty <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty == nil {
		g.empty = make(chan struct{})
		if g.inside == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

// closed reports whether close was called.
func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.empty != nil
}
