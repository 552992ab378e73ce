package delivery

import (
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/outbox"
)

// A shard that does not answer fills half of a lane's room at most, so that the readers of
// the other shards go on. On one Redis the reader may fill all of it.
func TestRoomOfShards(t *testing.T) {
	for name, c := range map[string]struct {
		heldOf []int
		want   []int
	}{
		"one Redis":            {[]int{7}, []int{3}},
		"nothing held":         {[]int{0, 0, 0}, []int{5, 5, 5}},
		"one shard hangs":      {[]int{5, 0, 0}, []int{0, 5, 5}},
		"the lane is full":     {[]int{5, 4, 1}, []int{0, 0, 0}},
		"more than its share":  {[]int{8, 0, 0}, []int{-3, 2, 2}},
		"little room for each": {[]int{4, 3, 2}, []int{1, 1, 1}},
	} {
		l := &lane{maxHeld: 10, heldOf: c.heldOf, held: make(map[outbox.Key]*task)}
		for shard, n := range c.heldOf {
			for i := range n {
				l.held[outbox.Key{Partition: 100*shard + i}] = &task{}
			}
		}
		for shard, want := range c.want {
			if got := l.freeNow(shard); got != want {
				t.Errorf("%s: room for %d of shard %d, want %d", name, got, shard, want)
			}
		}
	}
}
