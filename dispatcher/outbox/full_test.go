package outbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// newOwnWorld returns an outbox on its own Redis, so that the test can limit its memory.
func newOwnWorld(t *testing.T) *world {
	t.Helper()
	server, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Args: []string{"--appendonly", "no"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	w := newWorldAt(t, server.Addr())
	w.server = server
	return w
}

// fillMemory makes Redis refuse every command that may need memory.
func (w *world) fillMemory() {
	w.t.Helper()
	if err := w.redis.ConfigSet(w.t.Context(), "maxmemory", "1").Err(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.redis.Set(w.t.Context(), "more", "x", 0).Err(); !redis.HasErrorPrefix(err, "OOM") {
		w.t.Fatalf("writing with full memory: %v", err)
	}
}

// Every operation on an entry of the outbox works at maxmemory, because it frees memory in
// the end.
func TestFullMemory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const p, l = 1, push.Urgent

	t.Run("settle", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		s := w.full(w.hold(p, l, "v"), l, "")
		if err := w.redis.Set(ctx, s.Record, "before\n", 0).Err(); err != nil {
			t.Fatal(err)
		}
		earliest := w.redisTime()
		w.fillMemory()
		held, results := w.settleEntry(s)
		if want := []int64{203, 2, 101, 0}; !held || !slices.Equal(results, want) {
			t.Errorf("held %t, results %v, want %v", held, results, want)
		}
		w.checkFull(s, "", earliest, w.redisTime())
		if left := w.values(w.StreamKey(p, l)); len(left) != 0 || w.pending(w.StreamKey(p, l)) != 0 {
			t.Errorf("%v are left", left)
		}
	})
	t.Run("return what is due", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		w.delay(p, l, "v")
		w.wait(p, l, "ios", "w", far)
		w.fillMemory()
		w.returnDueOnce()
		if got := w.values(w.StreamKey(p, l)); !slices.Equal(got, []string{"v", "w"}) || w.delayed(p, l) != 0 {
			t.Errorf("returned %v", got)
		}
	})
	t.Run("release a probe", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		w.wait(p, l, "ios", "v", far)
		w.fillMemory()
		if n, err := w.Release(ctx, w.batcher, "ios", 1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if got := w.values(w.StreamKey(p, l)); !slices.Equal(got, []string{"v"}) || w.delayed(p, l) != 0 {
			t.Errorf("released %v", got)
		}
	})
	t.Run("dead letters", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		again := w.bury(p, now, l, letterEntry("{}").Value())
		dropped := w.bury(p, now.Add(time.Second), l, letterEntry("{}").Value())
		w.fillMemory()
		if err := errors.Join(w.Requeue(ctx, again), w.Drop(ctx, dropped)); err != nil {
			t.Error(err)
		}
		if n, dead := len(w.values(w.StreamKey(p, l))), w.values(w.deadKey(p)); n != 1 || len(dead) != 0 {
			t.Errorf("%d requeued, %v are left", n, dead)
		}
	})
	t.Run("read, renew, take over", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		w.queue(p, l, "v")
		w.fillMemory()
		messages, err := w.Read(ctx, l, 1)
		if err != nil || len(messages) != 1 {
			t.Fatal(messages, err)
		}
		if err := w.Renew(ctx, w.batcher, l, []Key{messages[0].Key}); err != nil {
			t.Error(err)
		}
		if _, err := w.answered(w.NewClaimer(l)).Claim(ctx, w.batcher); err != nil {
			t.Error(err)
		}
	})
	t.Run("create groups", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		if err := w.redis.Del(ctx, w.StreamKey(p, l)).Err(); err != nil {
			t.Fatal(err)
		}
		w.fillMemory()
		for range 2 { // first when some of them exist, then when all do
			if err := w.CreateGroups(ctx, l); err != nil {
				t.Error(err)
			}
		}
		if n := w.pending(w.StreamKey(p, l)); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
	t.Run("drop what an erased user has", func(t *testing.T) {
		t.Parallel()
		w := newOwnWorld(t)
		held := w.hold(p, l, "v")
		w.queue(p, l, "another")
		w.delay(p, l, "v")
		w.wait(p, l, "ios", "v", far)
		w.bury(p, now, l, "v")
		w.fillMemory()
		if err := w.DropEntries(ctx, p, func(string) bool { return true }); err != nil {
			t.Fatal(err)
		}
		left := append(w.values(w.StreamKey(p, l)), w.values(w.deadKey(p))...)
		if len(left) != 0 || w.pending(w.StreamKey(p, l)) != 0 || w.delayed(p, l) != 0 {
			t.Errorf("%v are left, %d held", left, w.pending(w.StreamKey(p, l)))
		}
		if held, _ := w.settleEntry(&Settlement{Key: held, Lane: l}); held {
			t.Error("an entry that was dropped is settled")
		}
	})
}

// Settling checks the types of its keys before the first write: the entry stays, and
// nothing is written twice.
func TestSettleChecksTypes(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]func(w *world, s *Settlement) string{
		"delayed":              func(w *world, s *Settlement) string { return w.DelayedKey(s.Key.Partition, s.Lane) },
		"waiting":              func(w *world, s *Settlement) string { return w.WaitingKey(s.Key.Partition, s.Lane, "ios") },
		"index of unsent":      func(w *world, s *Settlement) string { return w.unsentKey(s.Key.Partition, s.Lane) },
		"index by due time":    func(w *world, s *Settlement) string { return w.unsentKey(s.Key.Partition, s.Lane) + ":due" },
		"dead":                 func(w *world, s *Settlement) string { return w.deadKey(s.Key.Partition) },
		"record":               func(_ *world, s *Settlement) string { return s.Record },
		"fragment's first key": func(_ *world, s *Settlement) string { return s.Additions[0].Keys[0] },
		"fragment's last key":  func(_ *world, s *Settlement) string { return s.Additions[0].Keys[1] },
		"second fragment":      func(_ *world, s *Settlement) string { return s.Additions[2].Keys[0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, w := t.Context(), newWorld(t)
			s := w.full(w.hold(2, push.Chat, "v"), push.Chat, "")
			wrong := key(w, s)
			if err := w.redis.HSet(ctx, wrong, "a", "hash").Err(); err != nil {
				t.Fatal(err)
			}
			if wrong != s.Record {
				if err := w.redis.Set(ctx, s.Record, "before\n", 0).Err(); err != nil {
					t.Fatal(err)
				}
			}
			before := w.dump()
			if got := w.Settle(ctx, w.batcher, []*Settlement{s})[0]; !redis.HasErrorPrefix(got.Err, "WRONGTYPE") || got.Held {
				t.Errorf("settled: %+v", got)
			}
			if after := w.dump(); !slices.Equal(before, after) {
				t.Errorf("written: %v, before %v", after, before)
			}
			if n := w.pending(w.StreamKey(2, push.Chat)); n != 1 {
				t.Errorf("%d held", n)
			}
			if err := w.redis.Del(ctx, wrong).Err(); err != nil {
				t.Fatal(err)
			}
			if held, _ := w.settleEntry(s); !held || w.pending(w.StreamKey(2, push.Chat)) != 0 {
				t.Errorf("settled again: held %t", held)
			}
		})
	}
}

// dump returns the keys of partition 2 with their values.
func (w *world) dump() []string {
	w.t.Helper()
	ctx := w.t.Context()
	keys, err := w.redis.Keys(ctx, w.partitions.Key(2, "*")).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(keys)
	var all []string
	for _, key := range keys {
		value, err := w.redis.Dump(ctx, key).Result()
		if key == w.StreamKey(2, push.Chat) {
			value, err = "", nil // contains delivery times
		}
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, key+" "+value)
	}
	return all
}

// After Redis has lost its data no entry is held.
func TestSettleWithoutGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.hold(2, push.Chat, "v")
	if err := w.redis.Del(t.Context(), w.StreamKey(2, push.Chat)).Err(); err != nil {
		t.Fatal(err)
	}
	if got := w.Settle(t.Context(), w.batcher, []*Settlement{{Key: key, Lane: push.Chat}})[0]; got.Held || got.Err != nil {
		t.Errorf("settled: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := w.Settle(ctx, w.batcher, []*Settlement{{Key: key, Lane: push.Chat}})[0]; got.Held || !errors.Is(got.Err, context.Canceled) {
		t.Errorf("a command that was never sent: %+v", got)
	}
}

// When Redis takes no writes, the whole script fails, and other commands of the pipeline get
// their own replies. Errors inside of its reply would have shifted those.
func TestSettleWhileRedisTakesNoWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const p, l = 1, push.Urgent
	w := newOwnWorld(t)
	settlements := []*Settlement{{Key: w.hold(p, l, "v"), Lane: l}, {Key: w.hold(p, l, "w"), Lane: l}}
	for _, key := range []string{"a", "b"} {
		if err := w.redis.Set(ctx, key, "value of "+key, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.redis.ConfigSet(ctx, "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	settle := settleCommand(ctx, w.Outbox, settlements, []int{0, 1})
	a, b := rdb.NewCommand(ctx, "get", "a"), rdb.NewCommand(ctx, "get", "b")
	_ = w.batcher.Do(ctx, settle, a, b)
	if !redis.HasErrorPrefix(settle.Err(), "NOREPLICAS") {
		t.Errorf("settling replied %v, %v", settle.Val(), settle.Err())
	}
	if a.Val() != "value of a" || b.Val() != "value of b" {
		t.Errorf("got %v and %v", a.Val(), b.Val())
	}
	if err := w.redis.ConfigSet(ctx, "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for i, s := range w.Settle(ctx, w.batcher, settlements) {
		if !s.Held || s.Err != nil {
			t.Errorf("settlement %d afterwards: %+v", i, s)
		}
	}
}
