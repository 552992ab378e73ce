package broadcast

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// errCut is the error that the client of a cut connection gets.
var errCut = errors.New("connection cut")

// A cutter cuts pipelines at random. Either the commands from some point on are not
// executed, or all are executed and their answers are lost.
type cutter struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (*cutter) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*cutter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *cutter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.mu.Lock()
		cut, n := c.rnd.IntN(3) == 0, c.rnd.IntN(len(cmds)+1)
		c.mu.Unlock()
		if !cut {
			return next(ctx, cmds)
		}
		if n > 0 {
			_ = next(ctx, cmds[:n]) // each command has its own error
		}
		for _, cmd := range cmds[n/2:] {
			cmd.SetErr(errCut)
		}
		return errCut
	}
}

// cutBatcher returns a batcher whose connections are cut at random.
func cutBatcher(t *testing.T, client redis.UniversalClient, seed uint64) *rdb.Batcher {
	flaky := redis.NewClient(&redis.Options{Addr: client.(*redis.Client).Options().Addr})
	flaky.AddHook(&cutter{rnd: rand.New(rand.NewPCG(seed, 2))})
	b := rdb.NewBatcher(flaky, 0)
	t.Cleanup(func() { b.Close(); flaky.Close() })
	return b
}
