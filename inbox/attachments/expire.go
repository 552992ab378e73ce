package attachments

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// expireBatch is the number of files of a user that one round deletes.
const expireBatch = 100

// Expire deletes files that users sent before a time, and returns their number. All users
// without such files together cost one round trip. Expire may be repeated, and may run
// concurrently with itself. An error of the bucket or of Redis belongs to one user: the
// files of the others expire.
func (s *Store) Expire(ctx context.Context, users []int64, before time.Time) (deleted int, err error) {
	failed := []error{s.adopt(ctx, users)}
	for len(users) > 0 {
		pipe := s.redis.Pipeline()
		due := make([]*redis.StringSliceCmd, len(users))
		for i, user := range users {
			due[i] = pipe.ZRangeByScore(ctx, s.times(user), &redis.ZRangeBy{
				Min: "-inf", Max: "(" + strconv.FormatInt(before.UnixMilli(), 10), Count: expireBatch,
			})
		}
		_, _ = pipe.Exec(ctx) // each reply holds its own error
		var more []int64
		for i, user := range users {
			n, err := s.dropAll(ctx, user, due[i])
			deleted += n
			switch {
			case err != nil:
				failed = append(failed, err)
			case n == expireBatch:
				more = append(more, user)
			}
		}
		users = more
	}
	return deleted, errors.Join(failed...)
}

// dropAll deletes the files of a user that Redis listed, as far as it can, and returns how
// many it deleted.
func (s *Store) dropAll(ctx context.Context, user int64, listed *redis.StringSliceCmd) (deleted int, err error) {
	paths, err := listed.Result()
	if err != nil {
		return 0, fmt.Errorf("list old attachments: %w", err)
	}
	var failed []error
	for _, p := range paths {
		if err := s.drop(ctx, user, p); err != nil {
			failed = append(failed, err)
			continue
		}
		deleted++
	}
	return deleted, errors.Join(failed...)
}

// adopt sets the time of files without one to now: an earlier version stored them, or the
// process died between storing and note.
func (s *Store) adopt(ctx context.Context, users []int64) error {
	pipe := s.redis.Pipeline()
	files, times := make([]*redis.IntCmd, len(users)), make([]*redis.IntCmd, len(users))
	for i, user := range users {
		files[i], times[i] = pipe.SCard(ctx, s.files(user)), pipe.ZCard(ctx, s.times(user))
	}
	_, _ = pipe.Exec(ctx) // each reply holds its own error
	var failed []error
	for i, user := range users {
		err := errors.Join(files[i].Err(), times[i].Err())
		if err == nil && files[i].Val() != times[i].Val() {
			err = s.adoptAll(ctx, user)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("date attachments: %w", err))
		}
	}
	return errors.Join(failed...)
}

// adoptAll sets the time of a user's files without one to now.
func (s *Store) adoptAll(ctx context.Context, user int64) error {
	paths, err := s.redis.SMembers(ctx, s.files(user)).Result()
	if err != nil || len(paths) == 0 {
		return err
	}
	members := make([]redis.Z, len(paths))
	for i, p := range paths {
		members[i] = now(p)
	}
	return s.redis.ZAddNX(ctx, s.times(user), members...).Err()
}

// now returns the member of times for a file that is sent now.
func now(path string) redis.Z {
	return redis.Z{Score: float64(time.Now().UnixMilli()), Member: path}
}
