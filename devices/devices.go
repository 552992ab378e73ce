// Package devices keeps two things about users: which phones their pushes go
// to, and the credentials that they sign in with.
//
// A device token has one owner at a time (guarantee G4). Its owner record, in
// the token's partition, is the authority; the list under the user, in the
// user's partition, says what the device is and at which generation it was
// registered. The two cannot change in one script, so they are compared
// instead: a push may go to a listed device only when [Owner.Owns] says that
// the record, read just before, names that user and that generation. Every
// registration raises the generation in the record first and lists the device
// second, every removal takes the record first and the listing second. A crash
// in between leaves a device that belongs to nobody until its app registers
// again, never one that belongs to two.
package devices

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Errors that callers tell apart.
var (
	// ErrNotRegistered says that a token has no owner.
	ErrNotRegistered = errors.New("device is not registered")
	// ErrNotOwner says that a token belongs to another user.
	ErrNotOwner = errors.New("device belongs to another user")
)

// Options say where a registry keeps its data, and its bounds.
type Options struct {
	// Redis is a single server, a Sentinel's master or a cluster.
	Redis redis.UniversalClient
	// Prefix begins every key; "kabar" when empty.
	Prefix string
	// Tag returns the hash tag, braces included, of the partition that a user
	// (their id in decimal) or a device token lives in. Required; called
	// concurrently; the same key must always get the same tag.
	Tag func(key string) string
	// Listing returns the key of a sorted set in the user's partition, and the
	// member that lists the user there as one of whom something is kept.
	// Required; called concurrently.
	Listing func(user int64) (key, member string)
	// Tombstone returns the key of a hash in the user's partition that has the
	// field "erased" while the user is an erased one. Required; called
	// concurrently.
	Tombstone func(user int64) string
	// MaxPerUser is how many devices a user may have; registering one more
	// drops the least recently registered. 20 when zero.
	MaxPerUser int
	// Lockout bounds the guessing of credentials.
	Lockout Lockout
}

// Registry is the device registry and the store of credentials. It holds no
// state that another process lacks, apart from a cache that spares users the
// lockout that others caused. It is safe for concurrent use.
type Registry struct {
	redis      redis.UniversalClient
	keys       keys
	listing    func(user int64) (key, member string)
	tombstone  func(user int64) string
	maxPerUser int
	lockout    Lockout
	known      knownGood
}

// New returns a registry. It does not talk to Redis yet.
func New(o Options) *Registry {
	return &Registry{
		redis:      o.Redis,
		keys:       keys{prefix: cmp.Or(o.Prefix, "kabar"), tag: o.Tag},
		listing:    o.Listing,
		tombstone:  o.Tombstone,
		maxPerUser: cmp.Or(o.MaxPerUser, 20),
		lockout: Lockout{
			Failures: cmp.Or(o.Lockout.Failures, 10),
			Window:   cmp.Or(o.Lockout.Window, 5*time.Minute),
		},
	}
}

// newID returns a random device id of 16 hexadecimal digits.
func newID() string {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
