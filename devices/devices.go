// Package devices is the device registry: which phones the pushes of a user go to.
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
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Errors that callers tell apart.
var (
	// ErrNotRegistered says that a token has no owner.
	ErrNotRegistered = errors.New("device is not registered")
	// ErrNotOwner says that a token belongs to another user.
	ErrNotOwner = errors.New("device belongs to another user")
)

// Options configure a registry. Redis, Batcher and Partitions are required.
type Options struct {
	// Redis is a single server, a Sentinel's master or a cluster. Only reads go there
	// directly.
	Redis redis.UniversalClient
	// Batcher carries the scripts and writes. If it waits for replicas, so does every
	// change of the registry.
	Batcher *rdb.Batcher
	// Partitions say where the keys of a user or of a device token lie.
	Partitions *rdb.Partitions
	// MaxPerUser is how many devices a user may have; registering one more
	// drops the least recently registered. 20 when zero.
	MaxPerUser int
	// Log is told what could not be tidied up. Nothing is logged when nil.
	Log *slog.Logger
}

// Registry is the device registry. It holds no state that another process lacks,
// and is safe for concurrent use.
type Registry struct {
	redis      redis.UniversalClient
	batcher    *rdb.Batcher
	parts      *rdb.Partitions
	keys       keys
	maxPerUser int
	log        *slog.Logger
}

// New returns a registry. It does not talk to Redis yet.
func New(o Options) *Registry {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Registry{
		redis:      o.Redis,
		batcher:    o.Batcher,
		parts:      o.Partitions,
		keys:       keys{o.Partitions},
		maxPerUser: cmp.Or(o.MaxPerUser, 20),
		log:        o.Log,
	}
}

// newID returns a random device id of 16 hexadecimal digits.
func newID() string {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
