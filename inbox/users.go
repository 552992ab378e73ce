package inbox

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Users lists the users that Kabar keeps data of.
type Users struct{ *base }

// After returns a partition's users in the order of their ids: at most limit of them,
// after the given id, which is 0 for the first ones.
func (u *Users) After(ctx context.Context, partition int, after int64, limit int) ([]int64, error) {
	return rdb.UsersAfter(ctx, u.redis, u.parts.Users(partition), rdb.UserMember(after), limit)
}

// Count returns the number of users.
func (u *Users) Count(ctx context.Context) (int64, error) {
	pipe := u.redis.Pipeline()
	counts := make([]*redis.IntCmd, u.parts.Len())
	for i := range counts {
		counts[i] = pipe.ZCard(ctx, u.parts.Users(i))
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
