package credentials

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Limits of the credentials that are known to be good.
const (
	knownTTL     = 30 * 24 * time.Hour // since the last success
	knownRenewal = 24 * time.Hour      // how old the time of the last success may become
	maxKnown     = 64                  // of one user
)

// States in the reply of sign_in.lua.
const (
	signInKnown = 0
	signInRight = 1
)

// Authenticate verifies that token is the one that the user signs in with. address is where
// the attempt comes from. A credential that was right from this address within the last 30
// days is known to be good: it costs one round trip, and the failures of others do not lock
// it out. Any other one takes two round trips, and one more when it is right.
//
// vouched is when the user's credentials had last been revoked when the token was right, as
// [Session] wants it.
//
// The error is [ErrUnauthorized], a [*LockedOutError] after too many failures, whether the
// token is right or not, or Redis'.
func (s *Store) Authenticate(ctx context.Context, user int64, token, address string) (vouched int64, err error) {
	c := newCredential(user, token, address)
	keys := []string{s.keys.credential(user), s.keys.known(user), s.keys.revoked(user)}
	cmd, err := s.signIns.Run(ctx, signInScript, keys,
		c.token[:], c.member(), knownTTL.Milliseconds(), knownRenewal.Milliseconds())
	if err != nil {
		return 0, fmt.Errorf("verify sign-in: %w", err)
	}
	reply, err := cmd.Int64s(2)
	if err != nil {
		return 0, fmt.Errorf("verify sign-in: %w", err)
	}
	state, vouched := reply[0], reply[1]
	if state == signInKnown {
		return vouched, nil
	}
	right := state == signInRight
	if err := s.count(ctx, user, c.address, attempt{failed: !right}); err != nil {
		return 0, err
	}
	if !right {
		return 0, ErrUnauthorized
	}
	// The credential is right even when this fails, while Redis is full, for example: then
	// the next sign-in tries again.
	_ = s.remember(ctx, c)
	return vouched, nil
}

// A credential is a token that is presented as a user's from an address, without the
// secret itself.
type credential struct {
	user           int64
	token, address [digestSize]byte // digests
}

func newCredential(user int64, token, address string) credential {
	return credential{user, sha256.Sum256([]byte(token)), sha256.Sum256([]byte(address))}
}

// member is the credential's member in keys.known.
func (c credential) member() []byte {
	sum := sha256.Sum256(append(c.token[:], c.address[:]...))
	return sum[:16]
}

// LastSuccess returns how long ago [Store.Remember] was called for a credential. known is
// false when that was never, or more than 30 days ago.
func (s *Store) LastSuccess(ctx context.Context, user int64, token, address string) (ago time.Duration, known bool, err error) {
	cmd, err := s.signIns.Run(ctx, lastSuccessScript, []string{s.keys.known(user)}, newCredential(user, token, address).member())
	if err != nil {
		return 0, false, fmt.Errorf("look for a known credential: %w", err)
	}
	ms, err := cmd.Int64()
	if err != nil {
		return 0, false, fmt.Errorf("look for a known credential: %w", err)
	}
	ago = time.Duration(ms) * time.Millisecond
	return ago, ms >= 0 && ago < knownTTL, nil
}

// Remember stores that a credential, which is kept elsewhere, was found to be good now when
// it came from this address. Every process knows it then, for 30 days.
func (s *Store) Remember(ctx context.Context, user int64, token, address string) error {
	return s.remember(ctx, newCredential(user, token, address))
}

func (s *Store) remember(ctx context.Context, c credential) error {
	_, err := s.signIns.Run(ctx, rememberScript, []string{s.keys.known(c.user)}, c.member(), knownTTL.Milliseconds(), maxKnown)
	if err != nil {
		return fmt.Errorf("remember a credential: %w", err)
	}
	return nil
}

// Forget takes back [Store.Remember]: the credential is not good any more.
func (s *Store) Forget(ctx context.Context, user int64, token, address string) error {
	remove := rdb.NewCommand(ctx, "zrem", s.keys.known(user), newCredential(user, token, address).member())
	if err := s.signIns.Do(ctx, remove); err != nil {
		return fmt.Errorf("forget a credential: %w", err)
	}
	return nil
}
