package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrErased says that the user was erased, and has nothing until a service sets
// them anew.
var ErrErased = errors.New("the user was erased")

// Erase removes the user's credential and devices. No push starts to one of them
// from then on, and nothing is left that names a token of theirs, apart from the
// records of tokens that they gave up within the last day, which name nobody.
// Counters of failed sign-ins expire by themselves, within Lockout.Window. The
// user's tombstone has to stand before, so that nothing comes back. It may be
// repeated.
func (r *Registry) Erase(ctx context.Context, user int64) error {
	if err := validUser(user); err != nil {
		return err
	}
	if err := r.redis.Del(ctx, r.keys.credential(user)).Err(); err != nil {
		return fmt.Errorf("erase credential: %w", err)
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
	if err := r.redis.Del(ctx, r.keys.devices(user)).Err(); err != nil {
		return fmt.Errorf("erase devices: %w", err)
	}
	return nil
}

// disown forgets that the user owns a token.
func (r *Registry) disown(ctx context.Context, user int64, d Device) error {
	if err := disownScript.Run(ctx, r.redis, []string{r.keys.owner(d.Platform, d.Token)}, user).Err(); err != nil {
		return fmt.Errorf("disown device: %w", err)
	}
	return nil
}

// erased reports whether the user's tombstone stands.
func (r *Registry) erased(ctx context.Context, user int64) (bool, error) {
	yes, err := r.redis.HExists(ctx, r.tombstone(user), "erased").Result()
	if err != nil {
		return false, fmt.Errorf("look for a tombstone: %w", err)
	}
	return yes, nil
}
