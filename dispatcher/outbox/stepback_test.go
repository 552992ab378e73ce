package outbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// After Redis' clock steps back ten minutes, an entry that was delayed before is still due
// after its delay. TestClaimAfterTheClockWasSetBack is about leases.
func TestRedisClockStepsBack(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	const step = 10 * time.Minute
	before := time.UnixMilli(int64(w.redisTime())).Add(step) // the clock before the step

	delayed, stream := w.DelayedKey(1, push.Chat), w.StreamKey(1, push.Chat)
	w.redis.Set(ctx, delayed+":clock", fmt.Sprintf("%d 0", before.UnixMilli()), 0)
	w.redis.ZAdd(ctx, delayed,
		redis.Z{Member: "due", Score: float64(before.UnixMilli())},
		redis.Z{Member: "later", Score: float64(before.Add(time.Hour).UnixMilli())})
	for range 2 {
		w.returnDueOnce("android", "ios")
	}
	if got := w.values(stream); !slices.Equal(got, []string{"due"}) {
		t.Errorf("returned %q, want what was due", got)
	}
	if messages, err := w.Read(ctx, push.Chat, 1); len(messages) != 1 || err != nil {
		t.Fatalf("read %v, %v", messages, err)
	}
}
