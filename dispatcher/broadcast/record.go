package broadcast

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// open returns the broadcasts that have not been closed, without the counts of their
// walks. One that has expired has no state. With an error it may also return broadcasts, from
// the shards that answered.
func (s *store) open(ctx context.Context) ([]record, error) {
	keys, err := s.redis.SMembers(ctx, s.openKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("list open broadcasts: %w", err)
	}
	commands := make([]*rdb.Command, len(keys))
	for i, key := range keys {
		commands[i] = readScript.Command(ctx, []string{s.broadcastKey(key)})
	}
	_ = s.batcher.Do(ctx, commands...) // each command holds its own error
	open := make([]record, 0, len(keys))
	var failed error
	for i, c := range commands {
		reply, err := c.Slice()
		if err != nil || len(reply)%2 != 1 {
			failed = fmt.Errorf("read open broadcast: %w", cmp.Or(err, rdb.ErrReply))
			continue
		}
		now, _ := reply[0].(int64)
		fields := make(map[string]string, len(reply)/2)
		for pair := range slices.Chunk(reply[1:], 2) {
			name, _ := pair[0].(string)
			fields[name], _ = pair[1].(string)
		}
		open = append(open, readRecord(keys[i], fields, time.UnixMilli(now)))
	}
	return open, failed
}

// newest returns the keys of the newest broadcasts, limit of them at most.
func (s *store) newest(ctx context.Context, limit int) ([]string, error) {
	keys, err := s.redis.ZRevRange(ctx, s.newestKey(), 0, int64(limit)-1).Result()
	if err != nil {
		return nil, fmt.Errorf("list broadcasts: %w", err)
	}
	return keys, nil
}

// read returns the record of a broadcast, or inbox.ErrNotFound.
func (s *store) read(ctx context.Context, key string) (record, error) {
	pipe := s.redis.Pipeline()
	fields := pipe.HGetAll(ctx, s.broadcastKey(key))
	now := pipe.Time(ctx)
	walks := make([]*redis.MapStringStringCmd, s.partitions.Len())
	for p := range walks {
		walks[p] = pipe.HGetAll(ctx, s.walkKey(p, key))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return record{}, fmt.Errorf("read broadcast: %w", err)
	}
	if len(fields.Val()) == 0 {
		return record{}, inbox.ErrNotFound
	}
	r := readRecord(key, fields.Val(), now.Val())
	for _, walk := range walks {
		r.addCounts(walk.Val())
	}
	return r, nil
}

func readRecord(key string, fields map[string]string, now time.Time) record {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(fields[name], 10, 64) // absent: 0
		return n
	}
	at := func(name string) time.Time {
		if n := number(name); n > 0 {
			return time.UnixMilli(n)
		}
		return time.Time{}
	}
	r := record{
		key: key, state: State(fields["state"]), definition: []byte(fields["definition"]),
		started: at("started"), finished: at("finished"), total: number("total"),
		held: now.Before(at("until")), failed: make(map[string]int64), receipts: make(map[string]int64),
	}
	if r.held {
		r.pace, _ = strconv.ParseFloat(fields["pace"], 64) // absent: 0
	}
	return r
}

// addCounts adds what a partition counted.
func (r *record) addCounts(walk map[string]string) {
	for name, text := range walk {
		n, _ := strconv.ParseInt(text, 10, 64) // fields that are no counts are not used below
		if reason, ok := strings.CutPrefix(name, failedField); ok {
			r.failed[reason] += n
			continue
		}
		if event, ok := strings.CutPrefix(name, receiptsField); ok {
			r.receipts[event] += n
			continue
		}
		switch name {
		case "sent":
			r.sent += n
		case "skipped":
			r.skipped += n
		case acceptedField:
			r.accepted += n
		}
	}
}
