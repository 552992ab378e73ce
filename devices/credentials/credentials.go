// Package credentials is the credential store: the tokens that services set for users,
// single-use tickets that stand for a credential, which credentials are known to be good,
// and counters of failed attempts. Of tokens, tickets and addresses only digests are kept.
package credentials

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed" // the scripts
	"errors"
	"fmt"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// ErrUnauthorized says that a credential is wrong, or that the user has none.
var ErrUnauthorized = errors.New("user or token is wrong")

// MaxToken is the maximum length of a user's token, in bytes.
const MaxToken = 512

const digestSize = sha256.Size

var (
	//go:embed sign_in.lua
	signInLua string
	//go:embed known.lua
	knownLua string
	//go:embed last_success.lua
	lastSuccessLua string
	//go:embed remember.lua
	rememberLua string
	//go:embed count_failure.lua
	countFailureLua string
	//go:embed forgive.lua
	forgiveLua string
	//go:embed set_token.lua
	setTokenLua string
	//go:embed vouch.lua
	vouchLua string

	signInScript       = rdb.NewScript(knownLua + signInLua)
	lastSuccessScript  = rdb.NewScript(knownLua + lastSuccessLua).ReadOnly()
	rememberScript     = rdb.NewScript(rememberLua)
	countFailureScript = rdb.NewScript(countFailureLua)
	forgiveScript      = rdb.NewScript(forgiveLua)
	setTokenScript     = rdb.NewScript(setTokenLua)
	vouchScript        = rdb.NewScript(vouchLua).ReadOnly()
)

// Options configure a store. Batcher and Partitions are required.
type Options struct {
	// Batcher carries the writes that set or erase a token. If it waits for replicas, so do
	// these writes.
	Batcher *rdb.Batcher
	// SignIns carries the writes of signing in, counts of failures and tickets. It should
	// not wait for replicas. Batcher when nil.
	SignIns *rdb.Batcher
	// Partitions say where the keys of a user lie.
	Partitions *rdb.Partitions
	// Lockout limits failed sign-ins.
	Lockout Lockout
	// Sharded says that live sockets hear of a revocation through sharded pub/sub, as on a
	// cluster.
	Sharded bool
}

// Store is the store of credentials. It holds no state that another process lacks. It is
// safe for concurrent use.
type Store struct {
	batcher *rdb.Batcher
	signIns *rdb.Batcher
	keys    keys
	lockout Lockout
	publish string // the command
}

// New returns a store. It does not talk to Redis yet.
func New(o Options) *Store {
	publish := "publish"
	if o.Sharded {
		publish = "spublish"
	}
	return &Store{
		batcher: o.Batcher,
		signIns: cmp.Or(o.SignIns, o.Batcher),
		keys:    keys{o.Partitions},
		lockout: o.Lockout.withDefaults(),
		publish: publish,
	}
}

// SetToken sets the token that the user signs in with, 1 to [MaxToken] bytes, in place of
// the one before. Only a digest of it is kept: it has to be random enough not to be
// guessed. An empty token removes the user's. The change takes effect in every process at
// once: in the same step, everything that the token before has vouched for is revoked, so
// tickets are refused and sockets are closed. Setting the same token again revokes nothing.
//
// An error is [account.ErrErased], an [*account.InvalidError], or Redis'.
func (s *Store) SetToken(ctx context.Context, user int64, token string) error {
	if err := account.Validate(user); err != nil {
		return err
	}
	if len(token) > MaxToken {
		return &account.InvalidError{Field: "token", Problem: fmt.Sprintf("has more than %d bytes", MaxToken)}
	}
	var digest []byte
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		digest = sum[:]
	}
	set, err := s.replaceToken(ctx, user, digest)
	if err != nil {
		return fmt.Errorf("set user's token: %w", err)
	}
	if !set {
		return account.ErrErased
	}
	return nil
}

// replaceToken stores the digest of a token; an empty one removes the token. set is false
// when the user was erased, and gets no token.
func (s *Store) replaceToken(ctx context.Context, user int64, digest []byte) (set bool, err error) {
	keys := []string{s.keys.credential(user), s.keys.known(user), s.keys.tombstone(user), s.keys.revoked(user)}
	reply, err := s.batcher.Run(ctx, setTokenScript, keys,
		digest, rdb.RevokedTTL.Milliseconds(), s.publish, s.keys.parts.Channel(user))
	if err != nil {
		return false, err
	}
	return reply.Bool()
}

// Erase removes the user's token, and revokes what it has vouched for. Tickets and counters
// of failed sign-ins expire by themselves, within [TicketTTL] and Lockout.Window; a ticket of
// an erased user is refused. It may be repeated. The caller raises the user's tombstone
// first, so that no token comes back.
func (s *Store) Erase(ctx context.Context, user int64) error {
	if err := account.Validate(user); err != nil {
		return err
	}
	if _, err := s.replaceToken(ctx, user, nil); err != nil {
		return fmt.Errorf("erase user's token: %w", err)
	}
	return nil
}
