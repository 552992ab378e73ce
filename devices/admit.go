package devices

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	owner := r.keys.owner(d.tokens(), d.Token)
	until := r.keys.putOff(d.tokens(), d.Token)
	if d.Platform != Android {
		return rdb.NewCommand(ctx, "mget", owner, until)
	}
	return admitScript.Command(ctx, []string{owner, r.keys.rate(d.tokens(), d.Token), until},
		fmt.Sprintf("%d %d ", user, d.Generation), spare)
}

// PutOffCommand returns the command that has [Registry.AdmitCommand] admit no push to a
// device until a moment, because its provider asked for that. now is the time by Redis'
// clock.
func (r *Registry) PutOffCommand(ctx context.Context, d Device, now, until time.Time) *rdb.Command {
	return rdb.NewCommand(ctx, "set", r.keys.putOff(d.tokens(), d.Token), until.UnixMilli(), "px", max(1, until.Sub(now).Milliseconds()))
}

// ReadAdmission reads the reply to [Registry.AdmitCommand]. The push may go to the device
// if the owner is its user (see [Owner.Owns]) and wait is 0. Otherwise nothing was taken
// from the device's budget; wait is how long it takes until there is something to take, or
// until the device is not put off any more. now is the time by Redis' clock.
func ReadAdmission(c *rdb.Command, now time.Time) (owner Owner, wait time.Duration, err error) {
	reply, err := c.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return Owner{}, 0, fmt.Errorf("read device owner: %w", err)
	}
	if values, ok := reply.([]any); ok {
		if len(values) != 2 {
			return Owner{}, 0, fmt.Errorf("read device owner: %w: %d values, not 2", rdb.ErrReply, len(values))
		}
		switch second := values[1].(type) {
		case int64: // of the script
			wait = time.Duration(second) * time.Millisecond
		case string: // of MGET
			if until, err := strconv.ParseInt(second, 10, 64); err == nil {
				wait = max(0, time.UnixMilli(until).Sub(now))
			}
		}
		reply = values[0]
	}
	text, _ := reply.(string)
	rec, err := parseRecord(text)
	return rec.Owner, wait, err
}
