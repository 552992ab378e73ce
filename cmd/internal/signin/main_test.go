package signin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

const (
	ani  = 66
	budi = 67
	home = "203.0.113.7"
	cafe = "198.51.100.9"
)

// A backend provides what a verifier needs, for several processes. It allows three failures
// as one user and calls calls from one address, counts how often each user is added, and has
// a clock.
type backend struct {
	mu       sync.Mutex
	failures map[string]int
	called   map[string]int // by address
	calls    int            // that are allowed
	known    map[string]time.Time
	added    map[int64]int
	now      time.Time
	addErr   error // what AddUser returns
}

func newBackend() *backend {
	return &backend{
		failures: make(map[string]int), called: make(map[string]int), calls: 1000, known: make(map[string]time.Time), added: make(map[int64]int),
		now: time.Date(2014, 1, 23, 13, 48, 51, 0, time.UTC),
	}
}

// options have a timeout that a busy machine does not reach.
func (o *backend) options() Options {
	return Options{Guard: o, AddUser: o.addUser, Timeout: time.Minute, Now: o.clock}
}

func (o *backend) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *backend) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

func (o *backend) addUser(_ context.Context, user int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.addErr == nil {
		o.added[user]++
	}
	return o.addErr
}

func (o *backend) CountFailure(_ context.Context, user int64, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count(user, address)
}

// count counts a failure. o.mu is held.
func (o *backend) count(user int64, address string) error {
	key := fmt.Sprint(user, address)
	if o.failures[key] >= 3 {
		return &credentials.LockedOutError{RetryAfter: time.Minute, Limit: credentials.LimitFailures}
	}
	o.failures[key]++
	return nil
}

func (o *backend) CountCall(_ context.Context, user int64, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.called[address] >= o.calls {
		return &credentials.LockedOutError{RetryAfter: time.Minute, Limit: credentials.LimitCalls}
	}
	err := o.count(user, address)
	if err == nil {
		o.called[address]++
	}
	return err
}

func (o *backend) Forgive(_ context.Context, user int64, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures[fmt.Sprint(user, address)]--
	return nil
}

func (o *backend) LastSuccess(_ context.Context, user int64, token, address string) (time.Duration, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, ok := o.known[fmt.Sprint(user, token, address)]
	return o.now.Sub(at), ok, nil
}

func (o *backend) Remember(_ context.Context, user int64, token, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[fmt.Sprint(user, token, address)] = o.now
	return nil
}

func (o *backend) Forget(_ context.Context, user int64, token, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, fmt.Sprint(user, token, address))
	return nil
}

// counted returns the number of failures of a user from an address.
func (o *backend) counted(user int64, address string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failures[fmt.Sprint(user, address)]
}

// errLocked stands for any LockedOutError, see is.
var errLocked = errors.New("locked out")

// is reports whether err matches want: both are nil, or err wraps want.
func is(err, want error) bool {
	var locked *credentials.LockedOutError
	switch want {
	case nil:
		return err == nil
	case errLocked:
		return errors.As(err, &locked)
	}
	return errors.Is(err, want)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
