// Package credentials is the credential store: the tokens that services set for users,
// single-use tickets that stand for a credential, and counters of failed attempts. Of
// tokens and tickets only digests are kept.
package credentials

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

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
	//go:embed count_failure.lua
	countFailureLua string
	//go:embed forgive.lua
	forgiveLua string
	//go:embed set_token.lua
	setTokenLua string

	signInScript       = rdb.NewScript(signInLua)
	countFailureScript = rdb.NewScript(countFailureLua)
	forgiveScript      = rdb.NewScript(forgiveLua)
	setTokenScript     = rdb.NewScript(setTokenLua)
)

// Options configure a store. Redis, Batcher and Partitions are required.
type Options struct {
	// Redis is a single server, a Sentinel's master or a cluster. Only reads go there
	// directly.
	Redis redis.UniversalClient
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
}

// Store is the store of credentials. It holds no state that another process lacks,
// apart from a cache that spares users the lockout that others caused. It is safe
// for concurrent use.
type Store struct {
	redis     redis.UniversalClient
	batcher   *rdb.Batcher
	signIns   *rdb.Batcher
	keys      keys
	lockout   Lockout
	successes successCache
}

// New returns a store. It does not talk to Redis yet.
func New(o Options) *Store {
	return &Store{
		redis:   o.Redis,
		batcher: o.Batcher,
		signIns: cmp.Or(o.SignIns, o.Batcher),
		keys:    keys{o.Partitions},
		lockout: Lockout{
			Failures: cmp.Or(o.Lockout.Failures, 10),
			Window:   cmp.Or(o.Lockout.Window, 5*time.Minute),
		},
	}
}

// SetToken sets the token that the user signs in with, 1 to [MaxToken] bytes, in place of
// the one before. Only a digest of it is kept: it has to be random enough not to be
// guessed. An empty token removes the user's. The change takes effect in every process at
// once.
//
// An error is [account.ErrErased], an [*account.InvalidError], or Redis'.
func (s *Store) SetToken(ctx context.Context, user int64, token string) error {
	if err := account.Validate(user); err != nil {
		return err
	}
	if len(token) > MaxToken {
		return &account.InvalidError{Field: "token", Problem: fmt.Sprintf("has more than %d bytes", MaxToken)}
	}
	if token == "" {
		return s.Erase(ctx, user)
	}
	digest := sha256.Sum256([]byte(token))
	keys := []string{s.keys.credential(user), s.keys.tombstone(user)}
	reply, err := s.batcher.Run(ctx, setTokenScript, keys, digest[:])
	if err != nil {
		return fmt.Errorf("set user's token: %w", err)
	}
	set, err := reply.Bool()
	if err != nil {
		return fmt.Errorf("set user's token: %w", err)
	}
	if !set {
		return account.ErrErased
	}
	return nil
}

// TokenIs reports whether token is the one that the user signs in with at the moment; ""
// stands for none. It is for services, and counts no failures.
func (s *Store) TokenIs(ctx context.Context, user int64, token string) (bool, error) {
	stored, err := s.digest(ctx, user)
	if err != nil {
		return false, fmt.Errorf("read user's token: %w", err)
	}
	if stored == nil {
		return token == "", nil
	}
	digest := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(stored, digest[:]) == 1, nil
}

// digest returns the digest of the user's token, nil for none.
func (s *Store) digest(ctx context.Context, user int64) ([]byte, error) {
	stored, err := s.redis.Get(ctx, s.keys.credential(user)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return stored, err
}

// Erase removes the user's token. Tickets and counters of failed sign-ins expire by
// themselves, within [TicketTTL] and Lockout.Window; a ticket of an erased user is refused.
// It may be repeated. The caller raises the user's tombstone first, so that no token comes
// back.
func (s *Store) Erase(ctx context.Context, user int64) error {
	if err := account.Validate(user); err != nil {
		return err
	}
	if err := s.batcher.Do(ctx, rdb.NewCommand(ctx, "del", s.keys.credential(user))); err != nil {
		return fmt.Errorf("erase user's token: %w", err)
	}
	return nil
}
