// Package localredis starts a redis-server as a child process, for the playground, tests
// and benchmarks.
package localredis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNotInstalled reports that there is no redis-server in PATH.
var ErrNotInstalled = errors.New("redis-server is not installed (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)")

const (
	startTimeout = time.Minute // with the loading of its data
	stopTimeout  = time.Minute // with the writing of its data
	portTries    = 5           // ports that are tried when other processes take them
)

// errPortTaken reports that another process listens on the server's port.
var errPortTaken = errors.New("redis-server: the port is in use")

// Options configure a [Server].
type Options struct {
	// Dir is the folder of the server's data. If empty, a temporary folder is used, which
	// Close and Kill remove.
	Dir string
	// Port is the port on 127.0.0.1; a free one if 0.
	Port int
	// Args are additional arguments, such as "--appendfsync", "always". The default is an
	// append-only file with an fsync every second, and no snapshots.
	Args []string
	// Group starts the server in a process group of its own, so that a Ctrl-C in the
	// terminal does not stop it before its clients.
	Group bool
}

// A Server is a running redis-server. The caller must end it with Close or Kill.
type Server struct {
	addr    string
	cmd     *exec.Cmd
	output  bytes.Buffer
	exited  chan struct{}
	err     error // of the process; set once exited is closed
	dir     string
	ownsDir bool
}

// Start starts a server and waits up to a minute until it answers. The error is
// [ErrNotInstalled] if there is no redis-server. When the server exits at once, its output
// is copied to standard error.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Port != 0 {
		return start(ctx, o)
	}
	return onFreePort(func(port int) (*Server, error) {
		o.Port = port
		return start(ctx, o)
	})
}

// onFreePort calls start with a free port, and again with another one while other processes
// take the port first.
func onFreePort(start func(port int) (*Server, error)) (s *Server, err error) {
	for range portTries {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		if s, err = start(port); !errors.Is(err, errPortTaken) {
			return s, err
		}
	}
	return nil, err
}

// start starts a server on the port of the options.
func start(ctx context.Context, o Options) (*Server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, ErrNotInstalled
	}
	s := &Server{dir: o.Dir, exited: make(chan struct{})}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "kabar-redis-"); err != nil {
			return nil, fmt.Errorf("start redis-server: %w", err)
		}
		s.ownsDir = true
	} else if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	port := strconv.Itoa(o.Port)
	s.addr = net.JoinHostPort("127.0.0.1", port)
	args := []string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--daemonize", "no",
	}
	s.cmd = exec.Command(path, append(args, o.Args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if o.Group {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start redis-server: %w", err), s.removeDir())
	}
	go func() { // ends with the process; Close and Kill wait for it
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

// ready waits until the server answers, and not another one on its port.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, ClientName: "kabar-start"})
	defer c.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !s.answers(ctx, c) {
		select {
		case <-tick.C:
		case <-s.exited:
			if bytes.Contains(s.output.Bytes(), []byte("Address already in use")) {
				return fmt.Errorf("%w: %s", errPortTaken, s.addr)
			}
			_, _ = io.Copy(os.Stderr, &s.output)
			return fmt.Errorf("redis-server exited at once: %w", s.err)
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not answer: %w", ctx.Err())
		}
	}
	return nil
}

// answers reports whether the server answers. Where its users may not ask for its process,
// any answer will do.
func (s *Server) answers(ctx context.Context, c *redis.Client) bool {
	if c.Ping(ctx).Err() != nil {
		return false
	}
	about, err := c.Info(ctx, "server").Result()
	return err != nil || strings.Contains(about, fmt.Sprintf("process_id:%d\r\n", s.PID()))
}

// Addr returns the server's address, host:port.
func (s *Server) Addr() string { return s.addr }

// URL returns the server's address as a redis:// URL.
func (s *Server) URL() string { return "redis://" + s.addr + "/0" }

// Dir returns the folder of the server's data.
func (s *Server) Dir() string { return s.dir }

// PID returns the id of the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Close stops the server with SIGTERM and waits for it. After a minute it kills the server and
// returns an error. It may be called twice.
func (s *Server) Close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-s.exited:
		return s.removeDir()
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("redis-server did not stop and was killed"), s.Kill())
	}
}

// Kill ends the server with SIGKILL and waits for it. Data that was not written to disk is
// lost.
func (s *Server) Kill() error {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.exited
	return s.removeDir()
}

func (s *Server) removeDir() error {
	if !s.ownsDir {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove redis-server's data: %w", err)
	}
	return nil
}

// The ports of FreePort: below those that systems pick for others, also with Redis' default
// bus port of a cluster, which is 10,000 above.
const firstPort, ports = 10_240, 12_288

// FreePort returns a port on which nobody listens now. Nobody gets it from the system later,
// for a connection or for a listener without a port of its own, so that a server can be
// started on it again.
func FreePort() (port int, err error) {
	for range portTries {
		port = firstPort + rand.IntN(ports)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

var (
	sharedMu sync.Mutex
	shared   *Server
)

// Shared returns a server that is started once in this process, without fsync, for tests
// that use different key prefixes. [Main] stops it. It is safe for concurrent use.
func Shared() (*Server, error) {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil {
		return shared, nil
	}
	var err error
	shared, err = Start(context.Background(), Options{Args: []string{"--appendfsync", "no"}})
	return shared, err
}

// StopShared stops the shared server, if it was started.
func StopShared() error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		return nil
	}
	defer func() { shared = nil }()
	return shared.Close()
}
