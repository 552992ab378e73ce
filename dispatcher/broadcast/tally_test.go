package broadcast

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// The results of pushes are counted when their entries are settled, unless the walk's
// record has expired.
func TestTally(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		g.know(3)
		g.create(newTestRecord("c"))
		if err := g.outbox.CreateGroups(ctx, push.Bulk); err != nil {
			t.Fatal(err)
		}
		w := g.hold(g.store.batcher, "w", time.Hour)
		for user := int64(1); user <= 3; user++ {
			if err := w.step(ctx, g.partitions.OfUser(user), []candidate{{user: user, notification: g.notification("c", user)}}); err != nil {
				t.Fatal(err)
			}
		}
		var messages []outbox.Message
		for len(messages) < 3 {
			more, err := g.outbox.Read(ctx, push.Bulk, 10)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, more...)
		}
		settle := func(m outbox.Message, accepted int, failed map[string]int) int64 {
			t.Helper()
			settled := g.outbox.Settle(ctx, g.store.batcher, []*outbox.Settlement{{
				Key: m.Key, Lane: push.Bulk, Additions: []outbox.Addition{g.Tally(m.Partition, "c", accepted, failed)},
			}})[0]
			if settled.Err != nil || !settled.Held || len(settled.Results) != 1 {
				t.Fatalf("%+v", settled)
			}
			return settled.Results[0]
		}
		settle(messages[0], 2, map[string]int{"UNREGISTERED": 1})
		settle(messages[1], 0, map[string]int{"UNREGISTERED": 1, "off": 2})
		r, err := g.store.read(ctx, "c")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int64{"UNREGISTERED": 2, "off": 2}, r.failed); diff != "" || r.accepted != 2 {
			t.Errorf("accepted %d, failed (-want +got):\n%s", r.accepted, diff)
		}
		walk := g.store.walkKey(messages[2].Partition, "c")
		if err := client.Del(ctx, walk).Err(); err != nil {
			t.Fatal(err)
		}
		if n := settle(messages[2], 1, nil); n != 0 || client.Exists(ctx, walk).Val() != 0 {
			t.Errorf("an expired walk was counted up: %d", n)
		}
		if got := g.Tally(0, "c", 0, nil); got.Fragment != "" {
			t.Errorf("nothing to count: %+v", got)
		}
	})
}
