package signin

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"
)

// flights runs one call per key at a time, for everybody who asks for that key
// meanwhile. A call does not end with the context of the caller who was first:
// the others still want its answer. It is safe for concurrent use.
type flights struct {
	group  singleflight.Group
	ctx    context.Context // of every call; ends with close
	cancel context.CancelFunc
	mu     sync.RWMutex // held for reading while work is begun
	work   sync.WaitGroup
}

func newFlights() *flights {
	f := &flights{}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// do returns what call returns, ctx' error when that ends first, or ErrUnavailable
// after close.
func (f *flights) do(ctx context.Context, key string, call func(context.Context) error) error {
	done := make(chan error, 1)
	begun := f.begin(func() {
		_, err, _ := f.group.Do(key, func() (any, error) { return nil, call(f.ctx) })
		done <- err
	})
	if !begun {
		return ErrUnavailable
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin runs work in a goroutine that close waits for, unless that has begun.
func (f *flights) begin(work func()) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.ctx.Err() != nil {
		return false
	}
	f.work.Go(work)
	return true
}

// close ends the calls that are under way and waits for them.
func (f *flights) close() {
	f.mu.Lock()
	f.cancel()
	f.mu.Unlock()
	f.work.Wait()
}
