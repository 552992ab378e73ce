// Package localredistest provides every kind of Redis for tests: a shared server, an embedded
// one, a cluster, a replica. Its Main ends the tests of a package.
package localredistest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// Main is the TestMain of packages whose tests start goroutines, or use localredis.Shared. It
// runs the tests, calls the functions in stop, stops the shared server and exits. It fails
// when something cannot be stopped, or when tests that passed leave a goroutine behind.
func Main(m interface{ Run() int }, stop ...func() error) {
	code := m.Run()
	var failed error
	for _, f := range append(stop, localredis.StopShared) {
		failed = errors.Join(failed, f())
	}
	if code == 0 {
		failed = errors.Join(failed, leaked())
	}
	if failed != nil {
		fmt.Fprintln(os.Stderr, failed)
		code = max(code, 1)
	}
	os.Exit(code)
}

// leaked returns an error for goroutines that do not end. A pool of go-redis that could not
// connect leaves one that sees a second later that the pool was closed.
func leaked() (err error) {
	const most = 30 * time.Second
	for end := time.Now().Add(most); ; {
		if err = goleak.Find(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
