package signin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	ani  = 66
	budi = 67
	home = "203.0.113.7"
	cafe = "198.51.100.9"
)

// An office has what a door needs: it limits failures to three, welcomes users, and
// has a clock.
type office struct {
	mu       sync.Mutex
	failures map[string]int
	welcomed map[int64]int
	now      time.Time
	closed   error // what Welcome returns
}

func newOffice() *office {
	return &office{
		failures: make(map[string]int), welcomed: make(map[int64]int),
		now: time.Date(2014, 1, 23, 13, 48, 51, 0, time.UTC),
	}
}

func (o *office) options() Options { return Options{Limits: o, Welcome: o.welcome, Now: o.clock} }

func (o *office) clock() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *office) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = o.now.Add(d)
}

func (o *office) welcome(_ context.Context, user int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed == nil {
		o.welcomed[user]++
	}
	return o.closed
}

func (o *office) CountFailure(_ context.Context, user int64, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := fmt.Sprint(user, address)
	if o.failures[key] >= 3 {
		return &credentials.LockedOutError{RetryAfter: time.Minute}
	}
	o.failures[key]++
	return nil
}

func (o *office) Forgive(_ context.Context, user int64, address string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures[fmt.Sprint(user, address)]--
	return nil
}

// counted returns the failures of a user from an address.
func (o *office) counted(user int64, address string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failures[fmt.Sprint(user, address)]
}

// errLocked stands for any LockedOutError.
var errLocked = errors.New("locked out")

// is reports whether err is what was wanted: nil, or an error that it wraps.
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
