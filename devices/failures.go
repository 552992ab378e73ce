package devices

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"
)

// CountFailure counts a failed sign-in as a user from an address, for those who
// verify credentials that are kept elsewhere; they share the limit of
// [Registry.Authenticate]. Where verifying tells whether a guess was right, count
// first and call [Registry.Forgive] when the attempt turns out not to be a failure:
// then guesses made at once cannot slip past the limit together.
//
// The error is a [*LockedOutError] when there were too many already, which counts
// nothing, or Redis'.
func (r *Registry) CountFailure(ctx context.Context, user int64, address string) error {
	key := r.keys.failures(user, sha256.Sum256([]byte(address)))
	wait, err := countFailureScript.Run(ctx, r.redis, []string{key}, r.lockout.Failures, r.lockout.Window.Milliseconds()).Int64()
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	if wait < 0 {
		return nil
	}
	return &LockedOutError{RetryAfter: max(time.Duration(wait)*time.Millisecond, time.Millisecond)}
}

// Forgive takes back one failure that [Registry.CountFailure] has counted.
func (r *Registry) Forgive(ctx context.Context, user int64, address string) error {
	key := r.keys.failures(user, sha256.Sum256([]byte(address)))
	if err := forgiveScript.Run(ctx, r.redis, []string{key}).Err(); err != nil {
		return fmt.Errorf("forgive failed sign-in: %w", err)
	}
	return nil
}
