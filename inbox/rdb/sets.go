package rdb

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// scanCount is how many members one step of a scan looks at.
const scanCount = 100

// UsersAfter returns users of a sorted set whose members are written by UserMember
// and whose scores are all 0, in the order of their ids: at most limit of them, after
// the given member, or from the first one when it is "".
func UsersAfter(ctx context.Context, client redis.UniversalClient, set, after string, limit int) ([]int64, error) {
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

// DropMembers removes the members of a sorted set for which drop returns true, in
// bounded steps. A member that is there from beginning to end is looked at, whatever
// is added and removed meanwhile.
func DropMembers(ctx context.Context, client redis.UniversalClient, key string, drop func(member string) bool) error {
	for cursor := uint64(0); ; {
		page, next, err := client.ZScan(ctx, key, cursor, "", scanCount).Result()
		if err != nil {
			return fmt.Errorf("scan set: %w", err)
		}
		var dropped []any
		for i := 0; i < len(page); i += 2 { // members and scores, alternating
			if drop(page[i]) {
				dropped = append(dropped, page[i])
			}
		}
		if len(dropped) > 0 {
			if err := client.ZRem(ctx, key, dropped...).Err(); err != nil {
				return fmt.Errorf("drop from set: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
