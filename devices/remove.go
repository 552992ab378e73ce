package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Remove takes a device off the user: first the ownership, from which moment no
// push starts to it, then the listing. A registration that comes in between
// stays.
//
// For a token of Firebase p is Android, also where the device runs iOS; so it is wherever a
// token alone names a device.
//
// Errors are [ErrNotRegistered], [ErrNotOwner], [*account.InvalidError], and Redis'.
func (r *Registry) Remove(ctx context.Context, user int64, p Platform, token string) error {
	if err := ValidToken(p, token); err != nil {
		return err
	}
	rec, err := ownRecord(user, r.redis.Get(ctx, r.keys.owner(p, token)))
	d := Device{ID: rec.id, Platform: p, Token: token, Generation: rec.Generation}
	half := errors.Is(err, ErrNotRegistered)
	if half { // unless an earlier call released the ownership and then failed
		d, err = r.listedAs(ctx, user, p, token)
	}
	if err != nil {
		return err
	}
	released, err := r.release(ctx, user, d)
	if err != nil {
		return err
	}
	if !released {
		if half {
			return ErrNotRegistered
		}
		return nil
	}
	// An error does not fail the call: without its owner the listing has no effect,
	// repeating the call would find no owner, and the next push that meets the
	// listing removes it.
	if err := r.Unlist(ctx, user, d); err != nil {
		r.log.Warn("a removed device stays on the list", "user", user, "device", d.ID, "error", err)
	}
	return nil
}

// listedAs returns the device on the user's list that has the token, or ErrNotRegistered.
func (r *Registry) listedAs(ctx context.Context, user int64, p Platform, token string) (Device, error) {
	list, err := r.List(ctx, user)
	if err != nil {
		return Device{}, err
	}
	for _, d := range list {
		if d.tokens() == p && d.Token == token {
			return d, nil
		}
	}
	return Device{}, ErrNotRegistered
}

// Forget removes a device whose token the provider called dead, and reports whether it did.
// It does nothing when the token or its listing was registered again after d was read. It
// may return true with rdb.ErrReplicas.
func (r *Registry) Forget(ctx context.Context, user int64, d Device) (bool, error) {
	released, err := r.release(ctx, user, d)
	if err != nil && !errors.Is(err, rdb.ErrReplicas) || !released {
		return false, err
	}
	unlisted, unlistErr := r.unlist(ctx, user, d)
	return unlisted, errors.Join(err, unlistErr)
}

// Unlist takes a device off the user's list when its owner record names another
// user or generation, so that the listing has no effect. It does nothing when
// the device was listed anew since d was read.
func (r *Registry) Unlist(ctx context.Context, user int64, d Device) error {
	_, err := r.unlist(ctx, user, d)
	return err
}

// release takes the token from the user if it is still of d's generation, and
// reports whether nobody owns that generation any more.
func (r *Registry) release(ctx context.Context, user int64, d Device) (bool, error) {
	keys := []string{r.keys.owner(d.tokens(), d.Token)}
	released, err := r.runBool(ctx, releaseScript, keys, user, d.Generation, int(releasedTTL.Seconds()))
	if err != nil {
		err = fmt.Errorf("release device: %w", err)
	}
	return released, err
}

// unlist reports whether the listing was there, not newer than d, and is gone.
func (r *Registry) unlist(ctx context.Context, user int64, d Device) (bool, error) {
	unlisted, err := r.runBool(ctx, unlistScript, []string{r.keys.devices(user)}, d.ID, d.Token, d.Generation)
	if err != nil {
		err = fmt.Errorf("unlist device: %w", err)
	}
	return unlisted, err
}
