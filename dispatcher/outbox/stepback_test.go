package outbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// When Redis' clock steps back ten minutes, what was delayed before ends in its time, and
// the lease of a worker that stopped begins to run.
func TestRedisClockStepsBack(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), t.Context()
	const step = 10 * time.Minute
	before := time.UnixMilli(int64(w.redisTime())).Add(step) // the clock before it stepped back

	delayed, stream := w.DelayedKey(1, push.Chat), w.StreamKey(1, push.Chat)
	w.redis.Set(ctx, delayed+":clock", fmt.Sprintf("%d 0", before.UnixMilli()), 0)
	w.redis.ZAdd(ctx, delayed,
		redis.Z{Member: "due", Score: float64(before.UnixMilli())},
		redis.Z{Member: "later", Score: float64(before.Add(time.Hour).UnixMilli())})
	for range 2 {
		c := dueScript.Command(ctx, []string{delayed, stream}, maxDue)
		if err := w.batcher.Do(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.values(stream); !slices.Equal(got, []string{"due"}) {
		t.Errorf("returned %q, want what was due", got)
	}
	if messages, err := w.Read(ctx, push.Chat, 1); len(messages) != 1 || err != nil {
		t.Fatalf("read %v, %v", messages, err)
	}
	key := w.hold(2, push.Chat, "new")

	held := w.StreamKey(2, push.Chat)
	if err := w.redis.Do(ctx, "xclaim", held, group, "dead", 0, key.ID, "time", before.UnixMilli(), "justid").Err(); err != nil {
		t.Fatal(err)
	}
	for idle, deadline := time.Duration(0), time.Now().Add(time.Minute); idle == 0; {
		if _, err := w.Claim(ctx, w.batcher, push.Chat); err != nil {
			t.Fatal(err)
		}
		rdb.Sleep(ctx, 5*time.Millisecond)
		pending, err := w.redis.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: held, Group: group, Start: "-", End: "+", Count: 1}).Result()
		if err != nil || len(pending) != 1 || pending[0].Consumer != "dead" {
			t.Fatalf("pending %+v, %v", pending, err)
		}
		if idle = pending[0].Idle; idle == 0 && time.Now().After(deadline) {
			t.Fatal("the lease of a worker that stopped does not run")
		}
	}
}
