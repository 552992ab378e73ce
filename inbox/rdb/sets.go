package rdb

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// scanCount is how many members one step of a scan looks at.
const scanCount = 500

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

// DropMembers removes the members of a sorted set for which match returns true, in steps of
// bounded size. It visits every member that is in the set for the whole call, whatever is
// added and removed meanwhile.
func DropMembers(ctx context.Context, client redis.UniversalClient, key string, match func(member string) bool) error {
	return eachMatch(ctx, client, key, match, func(members []any) error {
		if err := client.ZRem(ctx, key, members...).Err(); err != nil {
			return fmt.Errorf("drop from set: %w", err)
		}
		return nil
	})
}

// RescoreMembers sets the score of the members of a sorted set for which match returns
// true. It scans as DropMembers does, and does not add members that were removed meanwhile.
func RescoreMembers(ctx context.Context, client redis.UniversalClient, key string, score float64, match func(member string) bool) error {
	return eachMatch(ctx, client, key, match, func(members []any) error {
		scored := make([]redis.Z, len(members))
		for i, member := range members {
			scored[i] = redis.Z{Score: score, Member: member}
		}
		if err := client.ZAddXX(ctx, key, scored...).Err(); err != nil {
			return fmt.Errorf("rescore set: %w", err)
		}
		return nil
	})
}

// eachMatch scans a sorted set and calls apply with the members of each page for which
// match returns true.
func eachMatch(ctx context.Context, client redis.UniversalClient, key string, match func(member string) bool, apply func(members []any) error) error {
	for cursor := uint64(0); ; {
		page, next, err := client.ZScan(ctx, key, cursor, "", scanCount).Result()
		if err != nil {
			return fmt.Errorf("scan set: %w", err)
		}
		var matched []any
		for i := 0; i < len(page); i += 2 { // members and scores, alternating
			if match(page[i]) {
				matched = append(matched, page[i])
			}
		}
		if len(matched) > 0 {
			if err := apply(matched); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}
