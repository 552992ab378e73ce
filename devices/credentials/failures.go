package credentials

import (
	"context"
	"crypto/sha256"
	"fmt"
)

// CountFailure counts a failed sign-in as a user from an address, for verifiers of
// credentials that are kept elsewhere; they share the limit of [Store.Authenticate]. Where
// verifying tells whether a guess was right, count first and call [Store.Forgive] when the
// attempt turns out not to be a failure: then guesses made at once cannot slip past the
// limit together.
//
// The error is a [*LockedOutError] when there were too many already, which counts nothing,
// or Redis'.
func (s *Store) CountFailure(ctx context.Context, user int64, address string) error {
	key := s.keys.failures(user, sha256.Sum256([]byte(address)))
	cmd, err := s.batcher.Run(ctx, countFailureScript, []string{key}, s.lockout.Failures, s.lockout.Window.Milliseconds())
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	wait, err := cmd.Int64()
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	if wait < 0 {
		return nil
	}
	return lockedOut(wait)
}

// Forgive takes back one failure that [Store.CountFailure] has counted.
func (s *Store) Forgive(ctx context.Context, user int64, address string) error {
	key := s.keys.failures(user, sha256.Sum256([]byte(address)))
	if _, err := s.batcher.Run(ctx, forgiveScript, []string{key}); err != nil {
		return fmt.Errorf("forgive failed sign-in: %w", err)
	}
	return nil
}
