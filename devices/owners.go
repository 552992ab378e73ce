package devices

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Owner says who owns a device token. The zero Owner is nobody.
type Owner struct {
	User       int64
	Generation int64
}

// Owns reports whether a device in the user's list is still theirs, so that a
// push may go to it.
func (o Owner) Owns(user int64, d Device) bool {
	return o.User != 0 && o.User == user && o.Generation == d.Generation
}

// OwnerKey returns the key of the owner record of a device's token, a string that
// [ReadAdmission] reads. Only Platform, Provider and Token of the device matter.
func (r *Registry) OwnerKey(d Device) string { return r.keys.owner(d.tokens(), d.Token) }

// Owners returns who owns each device's token now, in the order of ds, in one
// round trip. Only Platform, Provider and Token of the devices matter.
func (r *Registry) Owners(ctx context.Context, ds []Device) ([]Owner, error) {
	if len(ds) == 0 {
		return nil, nil
	}
	pipe := r.redis.Pipeline()
	cmds := make([]*redis.StringCmd, len(ds))
	for i := range ds {
		cmds[i] = pipe.Get(ctx, r.keys.owner(ds[i].tokens(), ds[i].Token))
	}
	_, _ = pipe.Exec(ctx) // each answer has its own error

	owners := make([]Owner, len(ds))
	for i, cmd := range cmds {
		rec, err := readRecord(cmd)
		if err != nil {
			return nil, err
		}
		owners[i] = rec.Owner
	}
	return owners, nil
}

// List returns the user's devices, the least recently registered first. Whether
// a push may go to one is for [Owner.Owns] to say.
func (r *Registry) List(ctx context.Context, user int64) ([]Device, error) {
	return listed(r.redis.HVals(ctx, r.keys.devices(user)))
}

// ListEach returns the devices of each of some users, as List does, in one round trip for
// each shard. With an error it returns the devices of those users whose lists can be read.
func (r *Registry) ListEach(ctx context.Context, users []int64) (map[int64][]Device, error) {
	pipe := r.redis.Pipeline()
	lists := make([]*redis.StringSliceCmd, len(users))
	for i, user := range users {
		lists[i] = pipe.HVals(ctx, r.keys.devices(user))
	}
	if len(users) > 0 {
		_, _ = pipe.Exec(ctx) // each answer has its own error
	}
	found := make(map[int64][]Device)
	var failed error
	for i, user := range users {
		ds, err := listed(lists[i])
		if err != nil {
			failed = err
		} else if len(ds) > 0 {
			found[user] = ds
		}
	}
	return found, failed
}

func listed(cmd *redis.StringSliceCmd) ([]Device, error) {
	values, err := cmd.Result()
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return decode(values)
}

// A record is an owner record: the owner, and the id that the device has there.
type record struct {
	Owner
	id string
}

// errMalformed says that an owner record is not one of ours.
var errMalformed = errors.New("malformed device owner")

// parseRecord reads "user generation id". The record of a released token, and
// an empty one, is that of nobody.
func parseRecord(s string) (record, error) {
	if s == "" || strings.HasPrefix(s, "0 ") {
		return record{}, nil
	}
	user, rest, _ := strings.Cut(s, " ")
	generation, id, ok := strings.Cut(rest, " ")
	if !ok {
		return record{}, errMalformed
	}
	var rec record
	var err1, err2 error
	rec.User, err1 = strconv.ParseInt(user, 10, 64)
	rec.Generation, err2 = strconv.ParseInt(generation, 10, 64)
	if err1 != nil || err2 != nil {
		return record{}, errMalformed
	}
	rec.id = id
	return rec, nil
}

// readRecord takes an owner record from the answer to a GET.
func readRecord(cmd *redis.StringCmd) (record, error) {
	s, err := cmd.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return record{}, fmt.Errorf("read device owner: %w", err)
	}
	return parseRecord(s)
}

// ownRecord is readRecord for a token that has to be the user's.
func ownRecord(user int64, cmd *redis.StringCmd) (record, error) {
	rec, err := readRecord(cmd)
	switch {
	case err != nil:
		return record{}, err
	case rec.User == 0:
		return record{}, ErrNotRegistered
	case rec.User != user:
		return record{}, ErrNotOwner
	}
	return rec, nil
}
