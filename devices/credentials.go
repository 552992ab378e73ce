package devices

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnauthorized says that a credential is wrong, or that the user has none.
var ErrUnauthorized = errors.New("user or token is wrong")

// Lockout bounds failed sign-ins as one user from one address.
type Lockout struct {
	// Failures is how many are allowed in a window. 10 when zero.
	Failures int
	// Window is counted from the first failure, in whole milliseconds.
	// 5 minutes when zero.
	Window time.Duration
}

// LockedOutError says that an attempt was refused without being verified.
type LockedOutError struct {
	// RetryAfter is how long that will last.
	RetryAfter time.Duration
}

// Error says so, and for how long.
func (e *LockedOutError) Error() string {
	return fmt.Sprintf("too many failed sign-ins, try again in %v", e.RetryAfter)
}

// MaxCredential bounds what a user signs in with, in bytes.
const MaxCredential = 512

const digestSize = sha256.Size

// SetToken sets the token that the user signs in with, 1 to 512 bytes, in place
// of the one before. Only a digest of it is kept: it has to be random enough
// not to be guessed. An empty token takes the user's away. Every process goes
// by it at once.
//
// An error is [ErrErased], an [*InvalidError], or Redis'.
func (r *Registry) SetToken(ctx context.Context, user int64, token string) error {
	if err := validUser(user); err != nil {
		return err
	}
	if len(token) > MaxCredential {
		return &InvalidError{"token", fmt.Sprintf("has more than %d bytes", MaxCredential)}
	}
	if token == "" {
		if err := r.redis.Del(ctx, r.keys.credential(user)).Err(); err != nil {
			return fmt.Errorf("take user's token away: %w", err)
		}
		return nil
	}
	digest := sha256.Sum256([]byte(token))
	keys := []string{r.keys.credential(user), r.tombstone(user)}
	set, err := setTokenScript.Run(ctx, r.redis, keys, digest[:]).Bool()
	if err != nil {
		return fmt.Errorf("set user's token: %w", err)
	}
	if !set {
		return ErrErased
	}
	return nil
}

// TokenIs reports whether token is what the user signs in with at the moment; ""
// stands for none. It is for services, and counts no failures.
func (r *Registry) TokenIs(ctx context.Context, user int64, token string) (bool, error) {
	known, err := r.redis.Get(ctx, r.keys.credential(user)).Bytes()
	if errors.Is(err, redis.Nil) {
		return token == "", nil
	}
	if err != nil {
		return false, fmt.Errorf("read user's token: %w", err)
	}
	digest := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(known, digest[:]) == 1, nil
}

// Authenticate verifies that token is what the user signs in with. Address is
// where the attempt comes from: failures are counted by it and the user
// together. It is one round trip when the credential is right, and as much work
// for a user who has none as for one who has another.
//
// It returns [ErrUnauthorized]; a [*LockedOutError] after too many failures,
// which does not concern a credential that was right from this address, in this
// process, within the last hour; or Redis' error.
func (r *Registry) Authenticate(ctx context.Context, user int64, token, address string) error {
	in := signIn{user, sha256.Sum256([]byte(token)), sha256.Sum256([]byte(address))}
	if r.known.has(in, time.Now()) {
		right, err := r.stillRight(ctx, in)
		if err != nil {
			return err
		}
		if right {
			r.known.add(in, time.Now())
			return nil
		}
		r.known.remove(in)
	}
	if err := r.attempt(ctx, in); err != nil {
		return err
	}
	r.known.add(in, time.Now())
	return nil
}

// stillRight compares a credential without counting.
func (r *Registry) stillRight(ctx context.Context, in signIn) (bool, error) {
	stored, err := r.redis.Get(ctx, r.keys.credential(in.user)).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, fmt.Errorf("verify sign-in: %w", err)
	}
	return subtle.ConstantTimeCompare(stored, in.token[:]) == 1, nil
}

// attempt compares a credential, unless there were too many failures, and
// counts a failure.
func (r *Registry) attempt(ctx context.Context, in signIn) error {
	keys := []string{r.keys.credential(in.user), r.keys.failures(in.user, in.address)}
	reply, err := signInScript.Run(ctx, r.redis, keys, in.token[:], r.lockout.Failures, r.lockout.Window.Milliseconds()).Int64Slice()
	if err != nil {
		return fmt.Errorf("verify sign-in: %w", err)
	}
	switch state, wait := reply[0], time.Duration(reply[1])*time.Millisecond; state {
	case 0:
		return nil
	case 1:
		return ErrUnauthorized
	default:
		return &LockedOutError{RetryAfter: max(wait, time.Millisecond)}
	}
}
