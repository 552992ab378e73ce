package outbox

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// settleEntry settles an entry and returns what became of it.
func (w *world) settleEntry(s *Settlement) (held bool, results []int64) {
	w.t.Helper()
	settled := w.Settle(w.t.Context(), w.batcher, []*Settlement{s})[0]
	if settled.Err != nil {
		w.t.Fatal(settled.Err)
	}
	return settled.Held, settled.Results
}

// redisTime returns the time of Redis in milliseconds. Settling uses that time.
func (w *world) redisTime() float64 {
	w.t.Helper()
	at, err := w.redis.Time(w.t.Context()).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return float64(at.UnixMilli())
}

// full returns a settlement that uses every field. The names of its keys end with suffix.
func (w *world) full(key Key, l push.Lane, suffix string) *Settlement {
	name := func(s string) string { return w.partitions.Key(key.Partition, s+suffix) }
	return &Settlement{
		Key: key, Lane: l, Record: name("record"), Lines: "one\ntwo\n",
		Delayed: []Delayed{
			{Entry: &Entry{User: 66, Owed: "d1", ID: "n1", Body: "{}"}, By: time.Hour},
			{Entry: &Entry{User: 66, Owed: "d2", ID: "n1", Body: "{}"}},
			{Entry: &Entry{User: 66, Owed: "d3", ID: "n1", Waits: "circuit_open", Body: "{}"}, By: time.Minute, Route: "ios"},
		},
		Dead: []Dead{{"d3", push.Route{App: "default", Platform: "android"}, "refused", "v3"}, {"", push.Route{}, "expired", "v4"}},
		Additions: []Addition{
			{Fragment: copyFragment, Keys: []string{name("a"), name("b")}, Args: []any{"for a", "for b", "for none"}},
			{},
			{Fragment: appendFragment, Keys: []string{name("list")}, Args: []any{"x", 7}},
			{Fragment: copyFragment, Keys: []string{name("c")}, Args: []any{""}},
			{Fragment: appendFragment, Keys: []string{name("list")}},
		},
	}
}

// checkFull checks that Redis holds everything that settling full writes.
func (w *world) checkFull(s *Settlement, suffix string, earliest, latest float64) {
	w.t.Helper()
	ctx, p := w.t.Context(), s.Key.Partition
	if n := w.delayed(p, s.Lane); n != len(s.Delayed) {
		w.t.Errorf("%d delayed", n)
	}
	for _, d := range s.Delayed {
		key := w.DelayedKey(p, s.Lane)
		if d.Route != "" {
			key = w.WaitingKey(p, s.Lane, d.Route)
		}
		wait := float64(d.By.Milliseconds())
		stored := *d.Entry
		stored.Since = now.UnixMilli()
		at, err := w.redis.ZScore(ctx, key, stored.Value()).Result()
		if err != nil || at < earliest+wait || at > latest+wait {
			w.t.Errorf("delayed until %v, %v; want %+v", at, err, d)
		}
	}
	var dead []Dead
	for _, m := range w.redis.XRange(ctx, w.deadKey(p), "-", "+").Val() {
		text := func(name string) string { s, _ := m.Values[name].(string); return s }
		if text("lane") != s.Lane.String() {
			w.t.Errorf("a dead letter of lane %q", text("lane"))
		}
		app, platform, _ := strings.Cut(text("route"), ".")
		dead = append(dead, Dead{text("device"), push.Route{App: app, Platform: platform}, text("reason"), text(EntryField)})
	}
	if diff := cmp.Diff(s.Dead, dead); diff != "" {
		w.t.Errorf("dead letters: %s", diff)
	}
	got := make(map[string]string)
	for _, name := range []string{"record", "a", "b", "c"} {
		got[name] = w.redis.Get(ctx, w.partitions.Key(p, name+suffix)).Val()
	}
	want := map[string]string{"record": "before\none\ntwo\n", "a": "for a", "b": "for b", "c": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x", "7"}, w.redis.LRange(ctx, w.partitions.Key(p, "list"+suffix), 0, -1).Val()); diff != "" {
		w.t.Errorf("appended: %s", diff)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, l := range push.Lanes {
		p := int(l) // a partition for each lane, so that it finds only its own entries
		s := w.full(w.hold(p, l, "v"), l, l.String())
		other := w.hold(p, l, "other")
		if err := w.redis.Set(t.Context(), s.Record, "before\n", 0).Err(); err != nil {
			t.Fatal(err)
		}
		earliest := w.redisTime()
		held, results := w.settleEntry(s)
		if want := []int64{203, 2, 101, 0}; !held || !slices.Equal(results, want) {
			t.Errorf("%v: held %t, results %v, want %v", l, held, results, want)
		}
		w.checkFull(s, l.String(), earliest, w.redisTime())

		stream := w.StreamKey(p, l)
		if left := w.values(stream); !slices.Equal(left, []string{"other"}) || w.pending(stream) != 1 {
			t.Errorf("%v: %v are left, %d held", l, left, w.pending(stream))
		}
		if held, _ := w.settleEntry(&Settlement{Key: other, Lane: l}); !held || w.pending(stream) != 0 || len(w.values(stream)) != 0 {
			t.Errorf("%v: the other entry: held %t, left %v", l, held, w.values(stream))
		}
	}
}

// Nothing is written for an entry that this consumer does not hold.
func TestSettleWithoutHolding(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world) Key{
		"never read": func(w *world) Key { return w.queue(2, push.Chat, "v") },
		"held by another consumer": func(w *world) Key {
			key := w.hold(2, push.Chat, "v")
			claimed := w.redis.XClaimJustID(w.t.Context(), &redis.XClaimArgs{
				Stream: w.StreamKey(2, push.Chat), Group: group, Consumer: "another", Messages: []string{key.ID},
			})
			if err := claimed.Err(); err != nil || len(claimed.Val()) != 1 {
				w.t.Fatal(claimed)
			}
			return key
		},
		"settled before": func(w *world) Key {
			key := w.hold(2, push.Chat, "v")
			if held, _ := w.settleEntry(&Settlement{Key: key, Lane: push.Chat}); !held {
				w.t.Fatal("not held")
			}
			return key
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.full(prepare(w), push.Chat, "")
			if err := w.redis.Set(t.Context(), s.Record, "before\n", 0).Err(); err != nil {
				t.Fatal(err)
			}
			stream := w.StreamKey(2, push.Chat)
			entries, held := w.values(stream), w.pending(stream)
			if held, results := w.settleEntry(s); held || len(results) > 0 {
				t.Errorf("held %t, results %v", held, results)
			}
			if record := w.redis.Get(t.Context(), s.Record).Val(); record != "before\n" {
				t.Errorf("record %q", record)
			}
			written := append(w.delayedKeys(2, push.Chat, w.routes.all()), w.deadKey(2))
			for _, a := range s.Additions {
				written = append(written, a.Keys...)
			}
			if n := w.redis.Exists(t.Context(), written...).Val(); n != 0 {
				t.Errorf("%d of %v exist", n, written)
			}
			if left := w.values(stream); !slices.Equal(left, entries) || w.pending(stream) != held {
				t.Errorf("left %v, %d held; before %v, %d", left, w.pending(stream), entries, held)
			}
		})
	}
}

// A record that has expired is not created again, because it would then never expire.
func TestSettleWithoutRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	record := w.partitions.Key(1, "record")
	held, _ := w.settleEntry(&Settlement{Key: w.hold(1, push.Bulk, "v"), Lane: push.Bulk, Record: record, Lines: "one\n"})
	if !held || w.redis.Exists(t.Context(), record).Val() != 0 {
		t.Errorf("held %t, record %q", held, w.redis.Get(t.Context(), record).Val())
	}
}

func TestReadSettledRefuses(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]any{"an empty reply": []any{}, "a number": int64(1), "nil": nil} {
		if s := readSettled(reply); !errors.Is(s.Err, rdb.ErrReply) || s.Held {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := readSettled([]any{int64(-1), "WRONGTYPE of a key"}); !redis.HasErrorPrefix(s.Err, "WRONGTYPE") || s.Held {
		t.Errorf("an error: %+v", s)
	}
}

// Entries of many streams are settled together, each for itself: only those that this
// consumer holds, whoever holds their neighbours, and whatever is wrong with these.
func TestSettleTogether(t *testing.T) {
	t.Parallel()
	ctx, w := t.Context(), newWorld(t)
	const entries = 96
	var all []*Settlement
	var others, broken []bool
	for i := range entries {
		l, p := push.Lanes[i%len(push.Lanes)], i%w.partitions.Len()
		key := w.hold(p, l, strconv.Itoa(i))
		other, wrong := i%5 == 1, i%7 == 2
		if other {
			claim := &redis.XClaimArgs{Stream: w.StreamKey(p, l), Group: group, Consumer: "another", Messages: []string{key.ID}}
			if err := w.redis.XClaimJustID(ctx, claim).Err(); err != nil {
				t.Fatal(err)
			}
		}
		name := func(s string) string { return w.partitions.Key(p, s+strconv.Itoa(i)) }
		s := &Settlement{
			Key: key, Lane: l, Record: name("record"), Lines: "after\n",
			Additions: []Addition{{Fragment: appendFragment, Keys: []string{name("list")}, Args: slices.Repeat([]any{"x"}, i)}},
		}
		if i%11 == 3 {
			s.Dead = []Dead{{Device: "d", Reason: "refused", Value: strconv.Itoa(i)}}
		}
		if wrong {
			s.Additions[0].Keys = []string{s.Record}
		}
		if err := w.redis.Set(ctx, s.Record, "before\n", 0).Err(); err != nil {
			t.Fatal(err)
		}
		all, others, broken = append(all, s), append(others, other), append(broken, wrong)
	}
	for i, got := range w.Settle(ctx, w.batcher, all) {
		s, record := all[i], "before\n"
		switch {
		case others[i]:
			if got.Held || got.Err != nil {
				t.Errorf("%d is held by another consumer: %+v", i, got)
			}
		case broken[i]:
			if got.Held || !redis.HasErrorPrefix(got.Err, "WRONGTYPE") {
				t.Errorf("%d has a key of the wrong type: %+v", i, got)
			}
		default:
			record = "before\nafter\n"
			if !got.Held || got.Err != nil || !slices.Equal(got.Results, []int64{int64(i)}) {
				t.Errorf("%d: %+v", i, got)
			}
		}
		if got := w.redis.Get(ctx, s.Record).Val(); got != record {
			t.Errorf("record %d: %q, want %q", i, got, record)
		}
		left := slices.Contains(w.values(w.StreamKey(s.Key.Partition, s.Lane)), strconv.Itoa(i))
		dead := slices.Contains(w.values(w.deadKey(s.Key.Partition)), strconv.Itoa(i))
		if settled := !others[i] && !broken[i]; left == settled || dead != (settled && len(s.Dead) > 0) {
			t.Errorf("%d: in the stream %t, a dead letter %t", i, left, dead)
		}
	}
}

// One script settles few enough entries that it does not hold Redis for long. On a cluster
// they are of one partition.
func TestSettledTogether(t *testing.T) {
	t.Parallel()
	plain := func(partition int) *Settlement { return &Settlement{Key: Key{Partition: partition}} }
	delayed := &Settlement{Delayed: make([]Delayed, 8)}
	for name, c := range map[string]struct {
		cluster     bool
		settlements []*Settlement
		want        int
	}{
		"one":                    {false, []*Settlement{plain(0)}, 1},
		"few":                    {false, []*Settlement{plain(0), plain(1), plain(2)}, 3},
		"many":                   {false, slices.Repeat([]*Settlement{plain(0)}, 100), maxSettled},
		"with shades":            {false, slices.Repeat([]*Settlement{{Additions: make([]Addition, 1)}}, 100), 16},
		"with many calls":        {false, slices.Repeat([]*Settlement{delayed}, 5), 2},
		"with too many calls":    {false, []*Settlement{{Dead: make([]Dead, 1000)}, plain(0)}, 1},
		"of a cluster":           {true, []*Settlement{plain(0), plain(0), plain(1)}, 2},
		"of a cluster, the last": {true, []*Settlement{plain(1), plain(1)}, 2},
	} {
		o := &Outbox{cluster: c.cluster}
		order := make([]int, len(c.settlements))
		for i := range order {
			order[i] = i
		}
		if got := settledTogether(o, c.settlements, order); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
