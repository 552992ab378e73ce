package devices

import (
	"encoding/hex"
	"strconv"
)

// keys builds the names of everything that the package keeps in Redis. Each
// carries the tag of the partition that its user or token lives in.
type keys struct {
	prefix string
	tag    func(key string) string
}

// owner is a string "user generation id": who owns a device token. Kept while
// somebody does; once released, kept for releasedFor as "0 generation 0".
func (k keys) owner(p Platform, token string) string {
	return k.prefix + ":" + k.tag(token) + ":owner:" + string(p) + ":" + token
}

// devices is a hash from device id to [Device] as JSON: what a user has
// registered. Kept until the last device is removed.
func (k keys) devices(user int64) string { return k.ofUser(user, "devices") }

// credential is a string: the SHA-256 digest (32 bytes) of the token that a
// user signs in with. Kept until it is removed.
func (k keys) credential(user int64) string { return k.ofUser(user, "credential") }

// failures is a counter: failed sign-ins as a user from an address, given as
// its digest. Kept for Lockout.Window from the first failure.
func (k keys) failures(user int64, address [digestSize]byte) string {
	return k.ofUser(user, "failures") + ":" + hex.EncodeToString(address[:16])
}

// ticket is a string "user" or "user until" (Unix ms): for whom a ticket, given as
// its digest, stands, and when the credential behind it expires. Kept until it is
// redeemed, for TicketLife at most.
func (k keys) ticket(digest [digestSize]byte) string {
	id := hex.EncodeToString(digest[:])
	return k.prefix + ":" + k.tag(id) + ":ticket:" + id
}

func (k keys) ofUser(user int64, kind string) string {
	id := strconv.FormatInt(user, 10)
	return k.prefix + ":" + k.tag(id) + ":" + kind + ":" + id
}
