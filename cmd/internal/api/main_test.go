package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

func TestMain(m *testing.M) { localredis.Main(m) }

// patient is how long a test waits for what should happen at once.
const patient = time.Minute

// poll waits for a condition.
func poll(done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patient)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("not so after %v", patient)
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
