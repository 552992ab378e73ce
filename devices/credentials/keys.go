package credentials

import (
	"encoding/hex"
	"strconv"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// keys builds the keys of the package in Redis. Each has the hash tag of the partition of
// its user or ticket.
type keys struct{ parts *rdb.Partitions }

// credential is a string: the SHA-256 digest (32 bytes) of the token that a
// user signs in with. Kept until it is removed.
func (k keys) credential(user int64) string { return k.ofUser(user, "credential") }

// failures is a counter: failed sign-ins as a user from an address, given as
// its digest. Kept for Lockout.Window from the first failure.
func (k keys) failures(user int64, address [digestSize]byte) string {
	return k.ofUser(user, "failures") + ":" + hex.EncodeToString(address[:16])
}

// ticket is a string "user" or "user until" (Unix ms): the user for whom a ticket, given as
// its digest, stands, and when the credential behind it expires. Kept until it is redeemed,
// for TicketTTL at most.
func (k keys) ticket(digest [digestSize]byte) string {
	id := hex.EncodeToString(digest[:])
	return k.parts.Key(k.parts.Of(id), "ticket:"+id)
}

// tombstone is a hash that has the field "erased" while the user is an erased one.
func (k keys) tombstone(user int64) string { return k.parts.Tombstone(user) }

func (k keys) ofUser(user int64, name string) string {
	return k.parts.Key(k.parts.OfUser(user), name+":"+strconv.FormatInt(user, 10))
}
