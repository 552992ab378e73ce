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
	work   sync.WaitGroup
}

func newFlights() *flights {
	f := &flights{}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// do returns what call returns, or ctx' error when that ends first.
func (f *flights) do(ctx context.Context, key string, call func(context.Context) error) error {
	done := make(chan error, 1)
	f.work.Go(func() {
		_, err, _ := f.group.Do(key, func() (any, error) { return nil, call(f.ctx) })
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the calls that are under way and waits for them. No other may be
// started meanwhile or later.
func (f *flights) close() {
	f.cancel()
	f.work.Wait()
}
