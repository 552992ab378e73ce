package inbox

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// UsersAfter returns the ids of a partition's users that come after one (0 for the
// first), in order, at most the given number of them.
func (s *Store) UsersAfter(ctx context.Context, partition int, after int64, most int) ([]int64, error) {
	return rdb.MembersAfter(ctx, s.Redis, s.parts.Users(partition), rdb.UserMember(after), most)
}

// UserCount returns how many users there are of whom something is kept.
func (s *Store) UserCount(ctx context.Context) (int64, error) {
	pipe := s.Redis.Pipeline()
	counts := make([]*redis.IntCmd, s.parts.Len())
	for i := range counts {
		counts[i] = pipe.ZCard(ctx, s.parts.Users(i))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	var n int64
	for _, c := range counts {
		n += c.Val()
	}
	return n, nil
}
