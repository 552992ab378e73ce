package credentials

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Lockout limits failed sign-ins as one user from one address.
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

// Authenticate verifies that token is the one that the user signs in with. address is where
// the attempt comes from: failures are counted by it and the user together. It is one round
// trip when the credential is right, and takes as long for a user without a token as for
// one with another token.
//
// It returns [ErrUnauthorized]; a [*LockedOutError] after too many failures, unless the
// credential was right from this address, in this process, within the last hour; or Redis'
// error.
func (s *Store) Authenticate(ctx context.Context, user int64, token, address string) error {
	in := signIn{user, sha256.Sum256([]byte(token)), sha256.Sum256([]byte(address))}
	if s.successes.has(in, time.Now()) {
		right, err := s.stillRight(ctx, in)
		if err != nil {
			return err
		}
		if right {
			s.successes.add(in, time.Now())
			return nil
		}
		s.successes.remove(in)
	}
	if err := s.attempt(ctx, in); err != nil {
		return err
	}
	s.successes.add(in, time.Now())
	return nil
}

// stillRight compares a credential without counting.
func (s *Store) stillRight(ctx context.Context, in signIn) (bool, error) {
	stored, err := s.digest(ctx, in.user)
	if err != nil {
		return false, fmt.Errorf("verify sign-in: %w", err)
	}
	return subtle.ConstantTimeCompare(stored, in.token[:]) == 1, nil
}

// States in the reply of sign_in.lua; anything else is a lockout.
const (
	signInRight = 0
	signInWrong = 1
)

// attempt compares a credential, unless there were too many failures, and
// counts a failure.
func (s *Store) attempt(ctx context.Context, in signIn) error {
	keys := []string{s.keys.credential(in.user), s.keys.failures(in.user, in.address)}
	cmd, err := s.batcher.Run(ctx, signInScript, keys, in.token[:], s.lockout.Failures, s.lockout.Window.Milliseconds())
	if err != nil {
		return fmt.Errorf("verify sign-in: %w", err)
	}
	reply, err := cmd.Int64Slice()
	if err != nil {
		return fmt.Errorf("verify sign-in: %w", err)
	}
	if len(reply) != 2 {
		return fmt.Errorf("verify sign-in: %w: %d values, not 2", rdb.ErrReply, len(reply))
	}
	switch reply[0] {
	case signInRight:
		return nil
	case signInWrong:
		return ErrUnauthorized
	default:
		return lockedOut(reply[1])
	}
}

// lockedOut is the error while a window lasts for some milliseconds more.
func lockedOut(ms int64) *LockedOutError {
	return &LockedOutError{RetryAfter: max(time.Duration(ms)*time.Millisecond, time.Millisecond)}
}
