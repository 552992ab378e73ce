package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// AdmitCommand returns the command that reads who owns a device's token, for
// [ReadAdmission]. For an Android device of the user it also takes one push from the
// device's budget, which all processes share, unless spare or fewer pushes are left in it: a
// caller whose pushes can wait leaves some for more urgent ones. Call it before each request
// to the provider. Only Platform, Token and Generation of d matter.
//
// FCM answers 429 to more than 240 messages a minute or 5,000 an hour to one device
// (https://firebase.google.com/docs/cloud-messaging/throttling-and-quotas, "Maximum message
// rate to a single device"). The budget allows 230 in any minute, 110 of them at once, and
// 4,900 in any hour, 2,500 of them at once. APNs publishes no such limit.
func (r *Registry) AdmitCommand(ctx context.Context, user int64, d Device, spare int) *rdb.Command {
	owner := r.keys.owner(d.Platform, d.Token)
	if d.Platform != Android {
		return rdb.NewCommand(ctx, "get", owner)
	}
	return admitScript.Command(ctx, []string{owner, r.keys.rate(d.Platform, d.Token)},
		fmt.Sprintf("%d %d ", user, d.Generation), spare)
}

// ReadAdmission reads the reply to [Registry.AdmitCommand]. The push may go to the device
// if the owner is its user (see [Owner.Owns]) and wait is 0. Otherwise nothing was taken
// from the device's budget; wait is how long it takes until there is something to take.
func ReadAdmission(c *rdb.Command) (owner Owner, wait time.Duration, err error) {
	reply, err := c.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return Owner{}, 0, fmt.Errorf("read device owner: %w", err)
	}
	if values, ok := reply.([]any); ok {
		if len(values) != 2 {
			return Owner{}, 0, fmt.Errorf("read device owner: %w: %d values, not 2", rdb.ErrReply, len(values))
		}
		ms, _ := values[1].(int64)
		reply, wait = values[0], time.Duration(ms)*time.Millisecond
	}
	text, _ := reply.(string)
	rec, err := parseRecord(text)
	return rec.Owner, wait, err
}
