package live

// A gate counts who is inside, until it is closed. Unlike a sync.WaitGroup it may
// be entered while somebody waits for it to become empty. The zero gate is open.
type gate struct {
	mu     mutex[gateLock]
	inside int
	empty  chan struct{} // not nil once the gate is closed
}

// enter reports whether the gate is open. If so the caller is inside until leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return false
	}
	g.inside++
	return true
}

// leave ends what enter began.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.empty != nil && g.inside == 0 {
		close(g.empty)
	}
}

// close lets nobody enter any more. The channel that it returns is closed when
// nobody is inside. It may be called again, and returns the same channel.
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
