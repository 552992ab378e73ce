package redischeck

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	lookEvery    = time.Second
	lookTimeout  = 5 * time.Second // for one shard: a fork may keep a large one busy for a second or two
	waitReplicas = time.Second     // as requests do
	clockEvery   = 10 * time.Second
	remindEvery  = time.Minute // that a shard does not store
	readyName    = "ready"     // key in a partition: a string that expires after readyTTL
	readyTTL     = time.Minute
)

// A Shard is the state of one master of Redis, as a Monitor last saw it.
type Shard struct {
	Name   string        // host:port, or the master's name at Sentinel
	Err    error         // why writes fail, or nil
	Offset time.Duration // Redis' clock minus this process's; see Checker.Clock

	at        master
	partition int // a partition on this shard
	clocked   bool
	since     time.Time // when Err was first seen
	told      time.Time // when that was last logged
}

// Reason names why writes fail: OOM, READONLY, MISCONF or another error code of Redis, or
// Away. It also returns an explanation.
func (s Shard) Reason() (reason, meaning string) { return reasonOf(s.Err) }

// A Monitor writes to each shard once a second and remembers the result. It compares the
// clocks every 10 seconds. Shards may be called from any goroutine.
type Monitor struct {
	c     *Checker
	quiet *quietState

	clocks time.Time // when the clocks were last compared; only Look uses it

	mu     sync.Mutex
	shards []Shard // sorted by name
}

// NewMonitor returns a Monitor without results. If the checker logs to a [Quiet], the
// Monitor tells it what it sees.
func NewMonitor(c *Checker) *Monitor {
	m := &Monitor{c: c, quiet: &quietState{}}
	if q, ok := c.Log.Handler().(*Quiet); ok {
		m.quiet = q.state
	}
	return m
}

// Run calls Look once a second until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	for rdb.Sleep(ctx, lookEvery) {
		m.Look(ctx)
	}
}

// Shards returns the result of the last Look.
func (m *Monitor) Shards() []Shard {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.shards)
}

// Look checks all shards concurrently, within little more than lookTimeout. Only one goroutine
// may call it at a time.
func (m *Monitor) Look(ctx context.Context) {
	clocks := m.c.now().Sub(m.clocks) >= clockEvery
	if clocks {
		m.clocks = m.c.now()
	}
	m.quiet.begin()
	before := m.Shards()
	shards := m.find(ctx, before)
	var wg sync.WaitGroup
	for i := range shards {
		wg.Go(func() {
			s := &shards[i]
			var was *Shard
			if n := slices.IndexFunc(before, func(b Shard) bool { return b.Name == s.Name }); n >= 0 {
				was = &before[n]
				s.Offset, s.clocked, s.since, s.told = was.Offset, was.clocked, was.since, was.told
			}
			m.look(ctx, s, was, clocks)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return // a failure then says nothing about Redis
	}
	var largest time.Duration
	for _, s := range shards {
		if s.Offset.Abs() > largest.Abs() {
			largest = s.Offset
		}
	}
	m.c.ahead.Store(int64(largest))
	m.quiet.looked(slices.ContainsFunc(shards, func(s Shard) bool { return s.Err != nil }))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shards = shards
}

// look checks one shard, and logs what tell says.
func (m *Monitor) look(ctx context.Context, s, before *Shard, clock bool) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s.Err = m.write(limited, s)
	if s.Err == nil && (clock || !s.clocked) {
		m.compareClocks(limited, s)
	}
	if ctx.Err() != nil {
		return
	}
	m.tell(ctx, s, before)
	if s.Err == nil && before != nil && before.Err != nil {
		m.checkAgain(ctx, s)
	}
}

// tell logs when a shard stops to store, once a minute while it does not, and when it stores
// again.
func (m *Monitor) tell(ctx context.Context, s, before *Shard) {
	ctx = withAloud(ctx)
	log, now := m.c.Log.With("shard", s.Name), m.c.now()
	failed := before != nil && before.Err != nil
	reason, meaning := s.Reason()
	switch {
	case s.Err != nil && !failed:
		s.since, s.told = now, now
		log.WarnContext(ctx, "nothing can be stored on a shard of Redis: "+meaning, "reason", reason, "error", s.Err)
	case s.Err != nil && now.Sub(s.told) >= remindEvery:
		s.told = now
		log.WarnContext(ctx, "still nothing can be stored on a shard of Redis: "+meaning, "reason", reason, "error", s.Err,
			"for", now.Sub(s.since).Round(time.Second).String(), "records_dropped", m.quiet.take())
	case s.Err == nil && failed:
		log.InfoContext(ctx, "a shard of Redis stores again",
			"after", now.Sub(s.since).Round(time.Second).String(), "records_dropped", m.quiet.take())
	}
}

// checkAgain repeats the checks of the start on a shard that was away at the start, or
// whose Redis process has changed.
func (m *Monitor) checkAgain(ctx context.Context, s *Shard) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	if err := m.c.fit(ctx, s.at); faulty(err) {
		m.c.Log.Error("a shard of Redis that is back is not as Kabar needs it", "shard", s.Name, "error", err)
	}
}

// compareClocks stores the clocks' offset, and logs when it exceeds MaxOffset and when it
// no longer does.
func (m *Monitor) compareClocks(ctx context.Context, s *Shard) {
	offset, err := m.c.clock(ctx, s.at, m.c.now)
	if err != nil {
		return // the next write reports the error
	}
	before := s.Offset
	s.Offset, s.clocked = offset, true
	log := m.c.Log.With("shard", s.Name, "redis_is_ahead_by", offset.Round(time.Millisecond).String())
	switch differed, differs := before.Abs() > MaxOffset, offset.Abs() > MaxOffset; {
	case differs && !differed:
		log.Warn("the clocks of this machine and of Redis differ by more than a second: synchronise both (NTP)")
	case differed && !differs:
		log.Info("the clocks of this machine and of Redis agree again")
	}
}

// write writes a small key, as requests do: Redis refuses it at maxmemory. It waits for as
// many replicas as requests wait for.
func (m *Monitor) write(ctx context.Context, s *Shard) error {
	key := m.c.Partitions.Key(s.partition, readyName)
	if err := m.c.Client.Set(ctx, key, "1", readyTTL).Err(); err != nil {
		return fmt.Errorf("write to Redis: %w", err)
	}
	want := m.c.Config.WaitReplicas
	if want == 0 {
		return nil
	}
	pipe := s.at.client.Pipeline()
	pipe.Set(ctx, key, "1", readyTTL)
	wait := pipe.Do(ctx, "wait", want, waitReplicas.Milliseconds())
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write to Redis: %w", err)
	}
	if n, err := wait.Int(); err != nil {
		return fmt.Errorf("wait for replicas: %w", err)
	} else if n < want {
		return fmt.Errorf("%w: %d of %d", rdb.ErrReplicas, n, want)
	}
	return nil
}

// find returns the shards that hold partitions, each with one of its partitions. It returns
// the previous shards while the cluster does not answer.
func (m *Monitor) find(ctx context.Context, before []Shard) []Shard {
	whole := []Shard{{Name: m.c.name(), at: master{m.c.name(), m.c.Client}}}
	cluster, ok := m.c.Client.(*redis.ClusterClient)
	if !ok {
		return whole
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found := make(map[string]Shard)
	for p := range m.c.Partitions.Len() {
		node, err := cluster.MasterForKey(ctx, m.c.Partitions.Key(p, readyName))
		if err != nil && len(before) > 0 {
			return slices.Clone(before)
		}
		if err != nil {
			return whole
		}
		name := node.Options().Addr
		found[name] = Shard{Name: name, at: master{name, node}, partition: p}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Shard) int { return strings.Compare(a.Name, b.Name) })
}
