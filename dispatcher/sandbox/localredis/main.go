package localredis

import (
	"errors"
	"fmt"
	"os"

	"go.uber.org/goleak"
)

// Main is the TestMain of packages whose tests use [Shared]. It runs the tests, calls the
// functions in stop, stops the shared server and exits. The exit code is not 0 if a test
// fails, if something cannot be stopped, or if the tests leave a goroutine behind.
func Main(m interface{ Run() int }, stop ...func() error) {
	code := m.Run()
	var failed error
	for _, f := range append(stop, StopShared) {
		failed = errors.Join(failed, f())
	}
	if code == 0 {
		failed = errors.Join(failed, goleak.Find())
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		code = max(code, 1)
	}
	os.Exit(code)
}
