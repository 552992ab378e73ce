package attachments

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// expireBatch is the number of files of a user that one round deletes.
const expireBatch = 100

// Expire deletes files that users sent before a time, and returns their number. All users
// without such files together cost one round trip. Expire may be repeated, and may run
// concurrently with itself. The error comes from the bucket or from Redis.
func (s *Store) Expire(ctx context.Context, users []int64, before time.Time) (int, error) {
	if err := s.adopt(ctx, users); err != nil {
		return 0, err
	}
	deleted := 0
	for len(users) > 0 {
		pipe := s.redis.Pipeline()
		due := make([]*redis.StringSliceCmd, len(users))
		for i, user := range users {
			due[i] = pipe.ZRangeByScore(ctx, s.times(user), &redis.ZRangeBy{
				Min: "-inf", Max: "(" + strconv.FormatInt(before.UnixMilli(), 10), Count: expireBatch,
			})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return deleted, fmt.Errorf("list old attachments: %w", err)
		}
		var more []int64
		for i, user := range users {
			for _, p := range due[i].Val() {
				if err := s.drop(ctx, user, p); err != nil {
					return deleted, err
				}
				deleted++
			}
			if len(due[i].Val()) == expireBatch {
				more = append(more, user)
			}
		}
		users = more
	}
	return deleted, nil
}

// adopt sets the time of files without one to now: an earlier version stored them, or the
// process died between storing and note.
func (s *Store) adopt(ctx context.Context, users []int64) error {
	pipe := s.redis.Pipeline()
	files, times := make([]*redis.IntCmd, len(users)), make([]*redis.IntCmd, len(users))
	for i, user := range users {
		files[i], times[i] = pipe.SCard(ctx, s.files(user)), pipe.ZCard(ctx, s.times(user))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("count attachments: %w", err)
	}
	for i, user := range users {
		if files[i].Val() == times[i].Val() {
			continue
		}
		paths, err := s.redis.SMembers(ctx, s.files(user)).Result()
		if err != nil {
			return fmt.Errorf("list attachments: %w", err)
		}
		for _, p := range paths {
			if err := s.redis.ZAddNX(ctx, s.times(user), now(p)).Err(); err != nil {
				return fmt.Errorf("date attachment: %w", err)
			}
		}
	}
	return nil
}

// now returns the member of times for a file that is sent now.
func now(path string) redis.Z {
	return redis.Z{Score: float64(time.Now().UnixMilli()), Member: path}
}
