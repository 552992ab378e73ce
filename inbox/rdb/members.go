package rdb

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// MembersAfter returns the users of a sorted set whose members are those of UserMember
// and whose scores are all 0: those that come after one member ("" for the first ones),
// in order, limit of them at most.
func MembersAfter(ctx context.Context, client redis.UniversalClient, set, after string, limit int) ([]int64, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	members, err := client.ZRangeByLex(ctx, set, &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	users := make([]int64, len(members))
	for i, member := range members {
		if users[i], err = strconv.ParseInt(member, 10, 64); err != nil {
			return nil, fmt.Errorf("list users: %w", err)
		}
	}
	return users, nil
}
