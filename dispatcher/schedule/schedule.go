// Package schedule keeps events until the time at which they are published. Each event lies
// in the partition of its key. A process takes it under a lease when it is due, and publishes
// it; when that process dies, another one does. Publishing it again is harmless: each
// receiver's record says whether the event was stored.
package schedule

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	pollEvery = time.Second // how often due events are looked for
	maxTaken  = 20          // events of one partition taken at once
	giveUp    = 24 * time.Hour
)

var (
	//go:embed add.lua
	addSource string
	//go:embed take.lua
	takeSource string

	addScript  = rdb.NewScript(addSource)
	takeScript = rdb.NewScript(takeSource)
)

// An Event is an event that waits for its time.
type Event struct {
	Source      string    `json:"source"`       // see event.ServiceSource
	CloudSource string    `json:"cloud_source"` // of a CloudEvent
	ID          string    `json:"id"`
	Content     string    `json:"content"` // digest of what was sent
	At          time.Time `json:"at"`
	Receivers   []int64   `json:"receivers"`
	Raw         string    `json:"raw"` // as it was sent
}

// part returns the field of the event's hash. Two requests with one id are two parts when
// their contents or their receivers differ: it is the receivers' records that tell whether
// they conflict.
func (e *Event) part() string {
	sum := sha256.Sum256([]byte(e.Content + "\x00" + e.Raw))
	return hex.EncodeToString(sum[:8])
}

// Options configure a Schedule. All are required.
type Options struct {
	Redis      redis.UniversalClient
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	// Publish publishes an event whose time has come. It may be called again for the same
	// event. After an error it is.
	Publish func(ctx context.Context, e *Event) error
	// Lease is how long the events of a process that died wait for another one.
	Lease   time.Duration
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// A Schedule holds the events that are published later. It is safe for concurrent use.
type Schedule struct {
	redis      redis.UniversalClient
	batcher    *rdb.Batcher
	partitions *rdb.Partitions
	publish    func(ctx context.Context, e *Event) error
	lease      time.Duration
	log        *slog.Logger
	now        func() time.Time
}

// New returns a Schedule. Events are published while Run runs.
func New(o Options) *Schedule {
	s := &Schedule{
		redis: o.Redis, batcher: o.Batcher, partitions: o.Partitions, publish: o.Publish, lease: o.Lease, log: o.Log, now: o.Now,
	}
	o.Metrics.MustRegister(s.gauges())
	return s
}

// Add keeps an event with the given key until its time. It may be repeated.
func (s *Schedule) Add(ctx context.Context, key string, e *Event) error {
	content, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("schedule event: %w", err)
	}
	part := e.part()
	_, err = s.batcher.Run(ctx, addScript, []string{s.eventKey(key), s.waitingKey(s.partitions.Of(key))},
		part, content, key+" "+part, e.At.UnixMilli())
	if err != nil {
		return fmt.Errorf("schedule event: %w", err)
	}
	return nil
}

// Remove drops all that is kept of the event with the given key. It may be repeated.
func (s *Schedule) Remove(ctx context.Context, key string) error {
	parts, err := s.redis.HKeys(ctx, s.eventKey(key)).Result()
	if err != nil {
		return fmt.Errorf("remove a scheduled event: %w", err)
	}
	return s.remove(ctx, key, parts...)
}

// Forget drops what is kept of the event with the given key for one user alone.
func (s *Schedule) Forget(ctx context.Context, key string, user int64) error {
	parts, err := s.redis.HGetAll(ctx, s.eventKey(key)).Result()
	if err != nil {
		return fmt.Errorf("forget a scheduled event: %w", err)
	}
	var theirs []string
	for part, content := range parts {
		var e Event
		if err := json.Unmarshal([]byte(content), &e); err != nil {
			return fmt.Errorf("forget a scheduled event: %w", err)
		}
		if len(e.Receivers) == 1 && e.Receivers[0] == user {
			theirs = append(theirs, part)
		}
	}
	return s.remove(ctx, key, theirs...)
}

// remove drops parts of an event. The parts go first: a member without its part is dropped
// when it is due.
func (s *Schedule) remove(ctx context.Context, key string, parts ...string) error {
	if len(parts) == 0 {
		return nil
	}
	partition := s.partitions.Of(key)
	hdel, waiting, taken := []any{"hdel", s.eventKey(key)}, []any{"zrem", s.waitingKey(partition)}, []any{"zrem", s.takenKey(partition)}
	for _, part := range parts {
		hdel = append(hdel, part)
		waiting, taken = append(waiting, key+" "+part), append(taken, key+" "+part)
	}
	err := s.batcher.Do(ctx, rdb.NewCommand(ctx, hdel...))
	if err == nil {
		err = s.batcher.Do(ctx, rdb.NewCommand(ctx, waiting...), rdb.NewCommand(ctx, taken...))
	}
	if err != nil {
		return fmt.Errorf("remove a scheduled event: %w", err)
	}
	return nil
}

// Run publishes events that are due until ctx ends.
func (s *Schedule) Run(ctx context.Context) {
	failing := false
	for rdb.Sleep(ctx, pollEvery) {
		more, err := true, error(nil)
		for more && err == nil && ctx.Err() == nil {
			more, err = s.step(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("scheduled events cannot be published", "error", err)
		}
		failing = err != nil
	}
}

// step publishes some of the events that are due, and reports whether there may be more. An
// event that cannot be published is tried again when its lease ends.
func (s *Schedule) step(ctx context.Context) (more bool, err error) {
	commands := make([]*rdb.Command, s.partitions.Len())
	for p := range commands {
		commands[p] = takeScript.Command(ctx, []string{s.waitingKey(p), s.takenKey(p)}, maxTaken, s.lease.Milliseconds())
	}
	_ = s.batcher.Do(ctx, commands...) // each command holds its own error
	var failed []error
	for _, c := range commands {
		members, err := c.StringSlice()
		if err != nil {
			failed = append(failed, fmt.Errorf("read scheduled events: %w", err))
			continue
		}
		more = more || len(members) == maxTaken
		for _, member := range members {
			key, part, _ := strings.Cut(member, " ")
			if err := s.publishPart(ctx, key, part); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return more, errors.Join(failed...)
}

// publishPart publishes a part of an event, and removes it.
func (s *Schedule) publishPart(ctx context.Context, key, part string) error {
	content, err := s.redis.HGet(ctx, s.eventKey(key), part).Result()
	if errors.Is(err, redis.Nil) { // it was removed
		return s.remove(ctx, key, part)
	}
	if err != nil {
		return fmt.Errorf("read a scheduled event: %w", err)
	}
	var e Event
	if err = json.Unmarshal([]byte(content), &e); err == nil {
		err = s.publish(ctx, &e)
	}
	if err != nil && s.now().Before(e.At.Add(giveUp)) {
		return fmt.Errorf("publish scheduled event %q of %q: %w", e.ID, e.Source, err)
	}
	if err != nil {
		s.log.Error("a scheduled event is given up", "event", e.ID, "source", e.Source, "error", err)
	}
	return s.remove(ctx, key, part)
}
