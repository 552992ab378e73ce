package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// stops ends the servers that the tests share.
var stops []func()

// sharedRedis is started by the first test that wants it.
var sharedRedis = sync.OnceValues(func() (string, error) {
	addr, stop, err := startRedis()
	if err == nil {
		stops = append(stops, stop)
	}
	return addr, err
})

// startRedis starts a redis-server in a directory of its own.
func startRedis() (addr string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "kabar-api")
	if err != nil {
		return "", nil, err
	}
	port := strconv.Itoa(freePort())
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("%w (on Debian: apt-get install redis-server, on macOS: brew install redis)", err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		os.RemoveAll(dir)
	})
	addr = net.JoinHostPort("127.0.0.1", port)
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	if err := poll(func() bool { return client.Ping(context.Background()).Err() == nil }); err != nil {
		stop()
		return "", nil, err
	}
	return addr, stop, nil
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// poll waits for a condition.
func poll(done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("not so after 10 s")
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
