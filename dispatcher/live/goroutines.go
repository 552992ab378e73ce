package live

import (
	"context"
	"time"
)

// goroutines are the goroutines of a hub, which end together.
type goroutines struct {
	running gate
	// context returns the context that ends when stop is called: the parent of all
	// others, so that deriving one starts no goroutine.
	context func() context.Context
	cancel  context.CancelFunc
}

func newGoroutines() *goroutines {
	ctx, cancel := context.WithCancel(context.Background())
	return &goroutines{context: func() context.Context { return ctx }, cancel: cancel}
}

// start runs f in a goroutine that stop waits for. After stop was called it returns
// false, and does not run f.
func (g *goroutines) start(f func()) bool {
	if !g.running.enter() {
		return false
	}
	go func() {
		defer g.running.leave()
		f()
	}()
	return true
}

// stop ends the contexts of the goroutines, and waits for the goroutines. It may be
// called once.
func (g *goroutines) stop() {
	ended := g.running.close()
	g.cancel()
	<-ended
}

// withTimeout returns a context that ends after a timeout or when stop is called.
// The caller must call cancel.
func (g *goroutines) withTimeout(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(g.context(), timeout)
}
