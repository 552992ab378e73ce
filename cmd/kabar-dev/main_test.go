package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// asMain is the environment variable that makes this test binary run the command itself.
// Tests set it when they need to send signals to a process.
const asMain = "KABAR_DEV_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	lookUpTimeout = waitTimeout
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	localredistest.Main(m)
}

// waitTimeout is the longest that a test waits for one thing.
const waitTimeout = 2 * time.Minute

// A console collects the output of a playground. Tests can wait for a text in it.
type console struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced on every write
}

func newConsole() *console { return &console{changed: make(chan struct{})} }

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
	return c.text.Write(b)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// wait waits until the output contains want at least the given number of times.
func (c *console) wait(t *testing.T, want string, times int) {
	t.Helper()
	timeout := time.After(waitTimeout)
	for {
		c.mu.Lock()
		changed, n := c.changed, strings.Count(c.text.String(), want)
		c.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%q was printed %d times, not %d:\n%s", want, n, times, c)
		}
	}
}

const ready = "Pushes appear from here on."

// free has the flags that make a playground listen on free ports.
var free = []string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--page-listen", "127.0.0.1:0"}

// A game is a playground that runs in the process of the test.
type game struct {
	out, err *console
	cancel   context.CancelFunc
	done     chan error
}

// launch runs a playground and waits until it is ready.
func launch(t *testing.T, args ...string) *game {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := &game{out: newConsole(), err: newConsole(), cancel: cancel, done: make(chan error, 1)}
	go func() { g.done <- run(ctx, g.out, g.err, append(args, free...)) }()
	t.Cleanup(func() { g.stop(t) })
	g.out.wait(t, ready, 1)
	return g
}

// stop stops the playground as Ctrl-C does. It may be called twice.
func (g *game) stop(t *testing.T) {
	t.Helper()
	if g.cancel == nil {
		return
	}
	g.cancel()
	g.cancel = nil
	select {
	case err := <-g.done:
		if err != nil {
			t.Errorf("stopping: %v", err)
		}
	case <-time.After(waitTimeout):
		t.Fatal("it does not stop")
	}
}

// A child is a playground in a process of its own.
type child struct {
	out  *console
	cmd  *exec.Cmd
	done chan error
}

// spawn starts a playground as a process and waits until it is ready.
func spawn(t *testing.T, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{out: newConsole(), cmd: exec.Command(self, append(args, free...)...), done: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), asMain+"=1")
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	t.Cleanup(func() { c.cmd.Process.Kill() })
	c.out.wait(t, ready, 1)
	return c
}

func (c *child) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exited waits for the end of the process and returns its exit code, -1 when a
// signal has ended it.
func (c *child) exited(t *testing.T) int {
	t.Helper()
	select {
	case err := <-c.done:
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(waitTimeout):
		t.Fatalf("it does not exit:\n%s", c.out)
		return 0
	}
}
