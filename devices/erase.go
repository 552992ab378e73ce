package devices

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Erase removes the user's devices. No push starts to one of them from then on, and no
// token of theirs is left, except in the records of tokens that they gave up within the
// last day, which name no user. The user's tombstone must be raised before, so that nothing
// comes back. It may be repeated.
func (r *Registry) Erase(ctx context.Context, user int64) error {
	if err := account.Validate(user); err != nil {
		return err
	}
	values, err := r.redis.HVals(ctx, r.keys.devices(user)).Result() // maxPerUser or so
	if err != nil {
		return fmt.Errorf("erase devices: %w", err)
	}
	for _, v := range values {
		var d Device
		if json.Unmarshal([]byte(v), &d) != nil {
			continue // nothing can be sent to what cannot be read
		}
		if err := r.disown(ctx, user, d); err != nil {
			return err
		}
	}
	if err := r.batcher.Do(ctx, rdb.NewCommand(ctx, "del", r.keys.devices(user))); err != nil {
		return fmt.Errorf("erase devices: %w", err)
	}
	return nil
}

// disown removes the owner record of a token if it names the user.
func (r *Registry) disown(ctx context.Context, user int64, d Device) error {
	if _, err := r.batcher.Run(ctx, disownScript, []string{r.keys.owner(d.tokens(), d.Token)}, user); err != nil {
		return fmt.Errorf("disown device: %w", err)
	}
	return nil
}
