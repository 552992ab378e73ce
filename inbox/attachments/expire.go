package attachments

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// expireBatch is the number of files of a user that one round deletes.
const expireBatch = 100

// Expire deletes files that users sent before a time, and returns their number. All users
// without such files together cost one round trip. Expire may be repeated, and may run
// concurrently with itself. An error of the bucket or of Redis belongs to one user: the
// files of the others expire.
func (s *Store) Expire(ctx context.Context, users []int64, before time.Time) (deleted int, err error) {
	var failed []error
	for len(users) > 0 {
		due := make([]*rdb.Command, len(users))
		for i, user := range users {
			due[i] = rdb.NewCommand(ctx, "zrangebyscore", s.keys.files(user), "-inf", "("+strconv.FormatInt(before.UnixMilli(), 10), "limit", 0, expireBatch)
		}
		_ = s.batcher.Do(ctx, due...) // each reply holds its own error
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
func (s *Store) dropAll(ctx context.Context, user int64, listed *rdb.Command) (deleted int, err error) {
	paths, err := listed.StringSlice()
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
