package devices

import (
	"strconv"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// keys builds the keys of the package in Redis. Each has the hash tag of the partition of
// its user or token.
type keys struct{ parts *rdb.Partitions }

// of returns a key of a device token, or of its phone; p is the platform that has such tokens.
func (k keys) of(kind string, p Platform, token string) string {
	token = stem(token)
	return k.parts.Key(k.parts.Of(token), kind+":"+string(p)+":"+token)
}

// owner is a string "user generation id": who owns a device token. Kept while
// somebody does; once released, kept for releasedTTL as "0 generation 0".
func (k keys) owner(p Platform, token string) string {
	return k.of("owner", p, token)
}

// rate is a string with the budgets of a device's pushes; see admit.lua. Kept until they are
// full again, for little more than an hour at most.
func (k keys) rate(p Platform, token string) string {
	return k.of("rate", p, token)
}

// devices is a hash from device id to [Device] as JSON: what a user has
// registered. Kept until the last device is removed.
func (k keys) devices(user int64) string {
	return k.parts.Key(k.parts.OfUser(user), "devices:"+strconv.FormatInt(user, 10))
}

// putOff is a string, the moment in ms until which nothing is pushed to a device, because
// its provider asked for that. Kept until then.
func (k keys) putOff(p Platform, token string) string {
	return k.of("putoff", p, token)
}
