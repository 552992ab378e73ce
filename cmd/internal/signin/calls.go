package signin

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"
)

// A callGroup runs one call per key at a time; callers who ask for the same key
// meanwhile share its result. A call does not end with the context of the caller who
// was first, because the others still want its result. It is safe for concurrent use.
type callGroup struct {
	group   singleflight.Group
	closing chan struct{}
	mu      sync.RWMutex // held for reading while a call is started
	work    sync.WaitGroup
}

func newCallGroup() *callGroup { return &callGroup{closing: make(chan struct{})} }

// do returns what call returns, ctx' error when that ends first, or ErrUnavailable
// after close.
func (g *callGroup) do(ctx context.Context, key string, call func(context.Context) error) error {
	done := make(chan error, 1)
	started := g.start(func() {
		_, err, _ := g.group.Do(key, func() (any, error) {
			return nil, g.untilClose(context.WithoutCancel(ctx), call)
		})
		done <- err
	})
	if !started {
		return ErrUnavailable
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start runs work in a goroutine that close waits for, unless close was called.
func (g *callGroup) start(work func()) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	select {
	case <-g.closing:
		return false
	default:
	}
	g.work.Go(work)
	return true
}

// untilClose makes a call with a context that close cancels.
func (g *callGroup) untilClose(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g.work.Go(func() {
		select {
		case <-g.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return call(ctx)
}

// close cancels the calls under way and waits for them. It may be called twice.
func (g *callGroup) close() {
	g.mu.Lock()
	select {
	case <-g.closing:
	default:
		close(g.closing)
	}
	g.mu.Unlock()
	g.work.Wait()
}
