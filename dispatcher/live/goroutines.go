package live

import (
	"context"
	"time"
)

// goroutines are the goroutines of a hub, which end together.
type goroutines struct {
	running gate
	done    chan struct{} // closed by stop
}

func newGoroutines() *goroutines {
	return &goroutines{done: make(chan struct{})}
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
	close(g.done)
	<-ended
}

// context returns a context that ends when stop is called. The caller must call
// cancel.
func (g *goroutines) context() (context.Context, context.CancelFunc) {
	return g.untilDone(context.WithCancel(context.Background()))
}

// withTimeout returns a context that ends after a timeout or when stop is called.
// The caller must call cancel.
func (g *goroutines) withTimeout(timeout time.Duration) (context.Context, context.CancelFunc) {
	return g.untilDone(context.WithTimeout(context.Background(), timeout))
}

// untilDone starts a goroutine that calls cancel when stop is called.
func (g *goroutines) untilDone(ctx context.Context, cancel context.CancelFunc) (context.Context, context.CancelFunc) {
	started := g.start(func() {
		select {
		case <-g.done:
			cancel()
		case <-ctx.Done():
		}
	})
	if !started {
		cancel()
	}
	return ctx, cancel
}
