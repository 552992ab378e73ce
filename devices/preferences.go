package devices

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/devices/account"
)

// Preferences are what a user has chosen for one device. The zero value is that of a new
// device: everything is on, nothing is private. They are kept while the device is the
// user's, over refreshes and a replaced token, and removed with it: the next owner of
// the token starts with the zero value.
type Preferences struct {
	// Off names the switches that are off: sorted, joined by commas.
	Off string `json:"o,omitempty"`
	// Private hides what pushes say about money from the lock screen.
	Private bool `json:"h,omitempty"`
}

// IsOff reports whether the switch of this name is off.
func (p Preferences) IsOff(name string) bool {
	if p.Off == "" { // as of nearly every device
		return false
	}
	for off := range strings.SplitSeq(p.Off, ",") {
		if off == name {
			return true
		}
	}
	return false
}

// Switch turns the switch of this name on or off. A name is not empty and has no comma; the
// caller decides which names have a meaning.
func (p *Preferences) Switch(name string, on bool) {
	names := strings.FieldsFunc(p.Off, func(c rune) bool { return c == ',' })
	names = slices.DeleteFunc(names, func(off string) bool { return off == name })
	if !on {
		names = append(names, name)
	}
	slices.Sort(names)
	p.Off = strings.Join(names, ",")
}

// Preferences returns the preferences of the user's device that has the token.
//
// Errors are [ErrNotRegistered], [ErrNotOwner], [*account.InvalidError], and Redis'.
func (r *Registry) Preferences(ctx context.Context, user int64, p Platform, token string) (Preferences, error) {
	d, err := r.Find(ctx, user, p, token)
	return d.Preferences, err
}

// Find returns the user's device that has the token, and notes that it was seen today, unless
// Redis takes no writes.
//
// Errors are those of [Registry.Preferences].
func (r *Registry) Find(ctx context.Context, user int64, p Platform, token string) (Device, error) {
	d, err := entryOf(ctx, r, user, p, token)
	if today := Day(time.Now()); err == nil && d.SeenDay < today {
		seen := d
		seen.SeenDay = today
		d, _, _ = r.Change(ctx, user, d, seen) // if that fails, the next request notes it
	}
	return d, err
}

// maxAmendTries is how often Prefer and Unsuspend try to change a listing that others change
// at the same time. Each try that fails means that one of them succeeded.
const maxAmendTries = 20

// errBusy says that maxAmendTries was not enough.
var errBusy = errors.New("the device is registered over and over")

// Prefer changes the preferences of the user's device that has the token, and returns
// what they are then. Change may be called several times, because a registration or
// suspension that comes in between is not undone.
//
// Errors are those of [Registry.Preferences].
func (r *Registry) Prefer(ctx context.Context, user int64, p Platform, token string, change func(*Preferences)) (Preferences, error) {
	for range maxAmendTries {
		seen, err := entryOf(ctx, r, user, p, token)
		if err != nil {
			return Preferences{}, err
		}
		d := seen
		change(&d.Preferences)
		d.SeenDay = max(d.SeenDay, Day(time.Now()))
		_, done, err := r.Change(ctx, user, seen, d)
		if err != nil {
			return Preferences{}, fmt.Errorf("set preferences: %w", err)
		}
		if done {
			return d.Preferences, nil
		}
	}
	return Preferences{}, fmt.Errorf("set preferences: %w", errBusy)
}

// entryOf returns the list entry of the user's device that has the token. The error is
// ErrNotRegistered when the owner record names a device that is not listed, because its
// registration has stopped half way.
func entryOf(ctx context.Context, r *Registry, user int64, p Platform, token string) (Device, error) {
	if err := cmp.Or(account.Validate(user), ValidToken(p, token)); err != nil {
		return Device{}, err
	}
	pipe := r.redis.Pipeline()
	get := pipe.Get(ctx, r.keys.owner(p, token))
	list := pipe.HGetAll(ctx, r.keys.devices(user))
	_, _ = pipe.Exec(ctx) // each answer has its own error

	owner, err := ownRecord(user, get)
	if err != nil {
		return Device{}, err
	}
	listed, err := list.Result()
	if err != nil {
		return Device{}, fmt.Errorf("list devices: %w", err)
	}
	if listed[owner.id] == "" {
		return Device{}, ErrNotRegistered
	}
	return decodeOne(listed[owner.id])
}
