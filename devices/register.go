package devices

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// finishTimeout limits the rest of a registration once its token is claimed. From there on
// it continues even when the caller's context has ended, because a device that is claimed
// and not listed gets no pushes.
const finishTimeout = 10 * time.Second

// States that enlist.lua replies.
const (
	taken  = "taken"  // another token has the device id
	erased = "erased" // the user was erased
)

// An Announcement returns the entry, of one field, that announces a new device, and the
// key of its stream in the user's partition.
type Announcement func(Device) (stream, field, value string)

// Register makes the user the owner of d.Token, even if another user owned it, and lists
// the device under them. Of d it uses Platform, Provider, Token, FID, App, Environment and
// what the app said of itself. It returns the device as registered, without preferences. A
// device that the user has already is refreshed: it keeps its id, its preferences, the day of
// its last acceptance and the environment that accepted it.
//
// When the device is new in the user's list, the entry that announce returns is
// added to its stream in the same script. Announce may be nil, and may be called
// without its entry being used.
//
// An error is [account.ErrErased], an [*account.InvalidError], or Redis'; after the latter
// the device may belong to nobody, and registering again repairs that.
func (r *Registry) Register(ctx context.Context, user int64, d Device, announce Announcement) (Device, error) {
	if err := cmp.Or(account.Validate(user), d.validate()); err != nil {
		return Device{}, err
	}
	d.ID = newID()
	return r.place(ctx, placement{user: user, device: d, announce: announce})
}

// Replace gives the user's device that has oldToken the token of another one. Of that it uses
// Platform, Provider, Token, FID, App and Environment; an empty App or Environment stays what
// it was. The device keeps its id, its preferences (which are not returned) and what the app
// said of itself. The new token may have belonged to somebody else; the old one belongs to
// nobody afterwards, unless it was registered again meanwhile. With two tokens of
// one phone it is a refresh.
//
// Errors are [ErrNotRegistered] and [ErrNotOwner] about the old token, [account.ErrErased],
// [*account.InvalidError], and Redis'; after the latter it may be repeated.
func (r *Registry) Replace(ctx context.Context, user int64, oldToken string, to Device) (Device, error) {
	p, newToken := to.tokens(), to.Token
	if err := cmp.Or(account.Validate(user), validToken("old_token", p, oldToken), validToken("new_token", p, newToken), to.validateFID("new_token"), to.validate()); err != nil {
		return Device{}, err
	}
	old, err := r.find(ctx, user, to, oldToken)
	if err != nil {
		return Device{}, err
	}
	d := old
	d.Token, d.FID, d.App, d.Environment = newToken, to.FID, cmp.Or(to.App, old.App), cmp.Or(to.Environment, old.Environment)
	if stem(newToken) == stem(oldToken) {
		return r.place(ctx, placement{user: user, device: d})
	}
	d, err = r.place(ctx, placement{user: user, device: d, keepID: true, replaces: old})
	if err != nil {
		return Device{}, err
	}
	if _, err := r.release(ctx, user, old); err != nil {
		return Device{}, err
	}
	return d, nil
}

// find returns the user's device that has the token, of the kind that to has, at its record's
// generation.
func (r *Registry) find(ctx context.Context, user int64, to Device, token string) (Device, error) {
	pipe := r.redis.Pipeline()
	get := pipe.Get(ctx, r.keys.owner(to.tokens(), token))
	list := pipe.HVals(ctx, r.keys.devices(user))
	_, _ = pipe.Exec(ctx) // each answer has its own error

	owner, err := ownRecord(user, get)
	if err != nil {
		return Device{}, err
	}
	listed, err := listed(list)
	if err != nil {
		return Device{}, err
	}
	d := Device{Platform: to.Platform, Provider: to.Provider}
	for _, l := range listed {
		if l.ID == owner.id {
			d = l
		}
	}
	d.ID, d.Token, d.Generation = owner.id, token, owner.Generation
	return d, nil
}

// A placement is a registration that is under way.
type placement struct {
	user     int64
	device   Device       // under the id that it gets if it is new
	keepID   bool         // under that id in any case
	replaces Device       // the device that it replaces in the list, if any
	announce Announcement // may be nil
}

// place claims the token, lists the device and takes it away from its former
// owner.
func (r *Registry) place(ctx context.Context, p placement) (Device, error) {
	// registering anew ends these
	p.device.Suspended, p.device.TriedAt, p.device.Suspect, p.device.Missed = "", 0, nil, false
	// enlist.lua keeps those of this moment
	p.device.Preferences, p.device.AcceptedDay, p.device.Learned, p.device.listed = Preferences{}, 0, "", ""
	claimed, before, err := r.claim(ctx, p)
	if err != nil && !errors.Is(err, rdb.ErrReplicas) {
		return Device{}, err
	}
	// The device is listed even if replicas have not confirmed the claim of its token, so
	// that it keeps getting pushes while its app retries.
	unconfirmed := err
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	state, err := r.settle(ctx, p, claimed, before)
	if err == nil && state == taken {
		// A Replace that ran at the same time, or that stopped half way, has listed
		// this id with another token. They are two devices then.
		p.device.ID, p.keepID = newID(), true
		if claimed, before, err = r.claim(ctx, p); err == nil {
			_, err = r.settle(ctx, p, claimed, before)
		}
	}
	if err := errors.Join(unconfirmed, err); err != nil {
		return Device{}, err
	}
	return claimed, nil
}

// settle lists a claimed device, and removes the listing and owner records that it
// replaces.
func (r *Registry) settle(ctx context.Context, p placement, claimed Device, before record) (state string, err error) {
	state, dropped, err := r.enlist(ctx, p, claimed)
	if err != nil {
		return "", err
	}
	if state == erased { // since the request was let in
		return "", errors.Join(account.ErrErased, r.disown(ctx, p.user, claimed))
	}
	r.tidy(ctx, p.user, claimed, before, dropped)
	return state, nil
}

// claim is the first step: it makes the user the owner. It returns the device with its id
// and generation, and the previous record, also when the error is rdb.ErrReplicas.
func (r *Registry) claim(ctx context.Context, p placement) (d Device, before record, err error) {
	d = p.device
	keep := "0"
	if p.keepID {
		keep = "1"
	}
	cmd, unconfirmed := r.batcher.Run(ctx, claimScript, []string{r.keys.owner(d.tokens(), d.Token)}, p.user, d.ID, keep)
	if unconfirmed != nil {
		unconfirmed = fmt.Errorf("claim device: %w", unconfirmed)
		if !errors.Is(unconfirmed, rdb.ErrReplicas) {
			return Device{}, record{}, unconfirmed
		}
	}
	reply, err := cmd.StringSlice()
	if err != nil {
		return Device{}, record{}, fmt.Errorf("claim device: %w", err)
	}
	if len(reply) != 2 {
		return Device{}, record{}, fmt.Errorf("claim device: %w: %d values, not 2", rdb.ErrReply, len(reply))
	}
	now, err := parseRecord(reply[0])
	if err != nil {
		return Device{}, record{}, err
	}
	if before, err = parseRecord(reply[1]); err != nil {
		return Device{}, record{}, err
	}
	d.ID, d.Generation = now.id, now.Generation
	return d, before, unconfirmed
}

// enlist is the second step: it lists the claimed device, and returns the state that the
// script replies and the devices that were dropped for it.
func (r *Registry) enlist(ctx context.Context, p placement, d Device) (state string, dropped []Device, err error) {
	data, err := json.Marshal(d)
	if err != nil {
		return "", nil, fmt.Errorf("list device: %w", err)
	}
	users, member := r.parts.Listing(p.user)
	keys := []string{r.keys.devices(p.user), users, r.parts.Tombstone(p.user)}
	args := []any{d.ID, string(d.tokens()), d.Token, d.Generation, data, r.maxPerUser, p.replaces.Token, p.replaces.Generation, member}
	if p.announce != nil {
		stream, field, value := p.announce(d)
		keys = append(keys, stream)
		args = append(args, field, value)
	}
	cmd, err := r.batcher.Run(ctx, enlistScript, keys, args...)
	if err != nil {
		return "", nil, fmt.Errorf("list device: %w", err)
	}
	reply, err := cmd.StringSlice()
	if err != nil {
		return "", nil, fmt.Errorf("list device: %w", err)
	}
	if len(reply) == 0 {
		return "", nil, fmt.Errorf("list device: %w: it is empty", rdb.ErrReply)
	}
	dropped, err = decode(reply[1:])
	return reply[0], dropped, err
}

// tidy removes what a registration leaves behind: the listing of the former owner, who
// no longer owns the device, and the owner records of dropped devices, which are in no
// list. No push goes to either, so its errors do not fail the registration: the next
// push or registration that meets one removes it.
func (r *Registry) tidy(ctx context.Context, user int64, d Device, before record, dropped []Device) {
	if before.User != 0 && before.User != user {
		d.ID, d.Generation = before.id, before.Generation
		if err := r.Unlist(ctx, before.User, d); err != nil {
			r.log.Warn("a device stays on its former owner's list", "user", before.User, "device", d.ID, "error", err)
		}
	}
	for _, gone := range dropped {
		if _, err := r.release(ctx, user, gone); err != nil {
			r.log.Warn("a dropped device keeps its owner record", "user", user, "device", gone.ID, "error", err)
		}
	}
}
