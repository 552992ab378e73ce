package credentials

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"time"
)

// Lockout limits failed sign-ins from one address. Credentials that are known to be good
// are exempt.
type Lockout struct {
	// Failures is how many are allowed as one user in a window. 10 when zero.
	Failures int
	// Users is how many users may be tried in a window. It bounds what is kept of an
	// address. 200 when zero.
	Users int
	// Window is counted from the first failure, in whole milliseconds.
	// 5 minutes when zero.
	Window time.Duration
	// Calls is how many calls to an upstream are allowed in any minute, half of them at
	// once. They are not limited when zero.
	Calls int
}

func (l Lockout) withDefaults() Lockout {
	l.Failures = cmp.Or(l.Failures, 10)
	l.Users = cmp.Or(l.Users, 200)
	l.Window = cmp.Or(l.Window, 5*time.Minute)
	return l
}

// budget returns how many calls are allowed at once, and how long it takes until one more
// is allowed.
func (l Lockout) budget() (burst int, interval time.Duration) {
	if l.Calls == 0 {
		return 0, 0
	}
	burst = max(l.Calls/2, 1)
	return burst, max(time.Minute/time.Duration(max(l.Calls-burst, 1)), time.Millisecond)
}

// A Limit is one of the limits of a [Lockout].
type Limit string

// The limits, in the order of the reply of count_failure.lua.
const (
	LimitFailures Limit = "user"     // Lockout.Failures
	LimitUsers    Limit = "address"  // Lockout.Users
	LimitCalls    Limit = "upstream" // Lockout.Calls
)

var limits = []Limit{LimitFailures, LimitUsers, LimitCalls}

// LockedOutError says that an attempt was refused without being judged.
type LockedOutError struct {
	// RetryAfter is how long that will last.
	RetryAfter time.Duration
	// Limit is the one that was reached.
	Limit Limit
}

// Error says so, and for how long.
func (e *LockedOutError) Error() string {
	return fmt.Sprintf("too many failed sign-ins (limit: %s), try again in %v", e.Limit, e.RetryAfter)
}

// CountFailure counts a failed sign-in as a user from an address, for verifiers of
// credentials that are kept elsewhere; they share the limits of [Store.Authenticate].
//
// The error is a [*LockedOutError] when there were too many already, which counts nothing,
// or Redis'.
func (s *Store) CountFailure(ctx context.Context, user int64, address string) error {
	return s.count(ctx, user, sha256.Sum256([]byte(address)), attempt{failed: true})
}

// CountCall counts a call to an upstream about a credential that is not known to be good,
// and counts it as a failure until [Store.Forgive] is called: so guesses made at once cannot
// slip past the limits together. Its error is that of [Store.CountFailure].
func (s *Store) CountCall(ctx context.Context, user int64, address string) error {
	return s.count(ctx, user, sha256.Sum256([]byte(address)), attempt{failed: true, calls: true})
}

// An attempt is what count looks at: the limits alone, when it is zero.
type attempt struct {
	failed bool // count a failure
	calls  bool // and an upstream call
}

// count checks the limits of an address, and counts an attempt unless one is reached.
func (s *Store) count(ctx context.Context, user int64, address [digestSize]byte, a attempt) error {
	counted := 0
	if a.failed {
		counted = 1
	}
	burst, interval := 0, time.Duration(0)
	if a.calls {
		burst, interval = s.lockout.budget()
	}
	cmd, err := s.signIns.Run(ctx, countFailureScript, []string{s.keys.failures(address), s.keys.calls(address)},
		user, s.lockout.Failures, s.lockout.Users, s.lockout.Window.Milliseconds(), counted, burst, interval.Milliseconds())
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	reply, err := cmd.Int64s(2)
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	limit, wait := reply[0], reply[1]
	if limit == 0 {
		return nil
	}
	return &LockedOutError{
		RetryAfter: max(time.Duration(wait)*time.Millisecond, time.Millisecond),
		Limit:      limits[min(int(limit), len(limits))-1],
	}
}

// Forgive takes back one failure that was counted.
func (s *Store) Forgive(ctx context.Context, user int64, address string) error {
	key := s.keys.failures(sha256.Sum256([]byte(address)))
	if _, err := s.signIns.Run(ctx, forgiveScript, []string{key}, user); err != nil {
		return fmt.Errorf("forgive failed sign-in: %w", err)
	}
	return nil
}
