package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestMain(m *testing.M) { localredistest.Main(m) }

// waitTimeout is the longest that a test waits for one thing.
const waitTimeout = time.Minute

// poll waits until done returns true.
func poll(done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(waitTimeout)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("not so after %v", waitTimeout)
		}
	}
	return nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
