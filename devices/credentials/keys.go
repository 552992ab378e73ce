package credentials

import (
	"encoding/hex"
	"strconv"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// keys builds the keys of the package in Redis. Each has the hash tag of the partition of
// its user, address or ticket.
type keys struct{ parts *rdb.Partitions }

// credential is a string: the SHA-256 digest (32 bytes) of the token that a
// user signs in with. Kept until it is removed.
func (k keys) credential(user int64) string { return k.ofUser(user, "credential") }

// known is a sorted set: digests of a user's good credentials, each together with the
// address that used it, scored with its last success in Unix ms. It has at most maxKnown
// members, and is kept for knownTTL from the last success.
func (k keys) known(user int64) string { return k.ofUser(user, "known") }

// failures is a hash: of each user as whom somebody has failed to sign in from an address,
// given as its digest, how often. It has Lockout.Users members at most, and is kept for
// Lockout.Window from the first failure.
func (k keys) failures(address [digestSize]byte) string { return k.ofDigest("failures", address[:16]) }

// calls is a string: the budget of upstream calls of an address, given as its digest. Kept
// until the whole budget is there again, which takes a minute.
func (k keys) calls(address [digestSize]byte) string { return k.ofDigest("calls", address[:16]) }

// ticket is a string "USER UNTIL VOUCHED": the Session for which a ticket, given as its
// digest, stands. UNTIL (Unix ms) is 0 for a credential that does not expire. Kept until it
// is redeemed, for TicketTTL at most.
func (k keys) ticket(digest [digestSize]byte) string { return k.ofDigest("ticket", digest[:]) }

// tombstone is a hash that has the field "erased" while the user is an erased one.
func (k keys) tombstone(user int64) string { return k.parts.Tombstone(user) }

// revoked is a string, kept for rdb.RevokedTTL: when the user's credentials were last
// revoked, Unix µs.
func (k keys) revoked(user int64) string { return k.parts.Revoked(user) }

func (k keys) ofUser(user int64, name string) string {
	return k.parts.Key(k.parts.OfUser(user), name+":"+strconv.FormatInt(user, 10))
}

func (k keys) ofDigest(name string, digest []byte) string {
	id := hex.EncodeToString(digest)
	return k.parts.Key(k.parts.Of(id), name+":"+id)
}
