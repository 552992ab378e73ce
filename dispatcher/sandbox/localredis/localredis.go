// Package localredis starts a redis-server of its own on this machine, for the
// playground, tests and benchmarks.
package localredis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrNotInstalled reports that there is no redis-server in PATH.
var ErrNotInstalled = errors.New("redis-server is not installed (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)")

const (
	startWithin = 10 * time.Second
	stopWithin  = 10 * time.Second
)

// Options say how to start a server.
type Options struct {
	// Dir keeps its data. Empty: a new folder that Close removes.
	Dir string
	// Port on 127.0.0.1. 0: a free one.
	Port int
	// Args are further settings, such as "--appendfsync", "always". Without any
	// the server writes an append-only file with fsync every second.
	Args []string
	// Group starts it in a process group of its own, so that a Ctrl-C meant for
	// the parent does not end it before its clients.
	Group bool
}

// A Server is a redis-server that runs as a child of this process.
type Server struct {
	addr    string
	cmd     *exec.Cmd
	output  bytes.Buffer
	exited  chan struct{}
	err     error // of the exit, once exited is closed
	dir     string
	ownsDir bool
}

// Start starts a server and waits until it answers. The error is ErrNotInstalled
// where there is none, or holds what the server said.
func Start(ctx context.Context, o Options) (*Server, error) {
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
	port := o.Port
	if port == 0 {
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	s.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	args := []string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.dir,
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

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, ClientName: "kabar-start"})
	defer c.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for c.Ping(ctx).Err() != nil {
		select {
		case <-tick.C:
		case <-s.exited:
			_, _ = io.Copy(os.Stderr, &s.output)
			return fmt.Errorf("redis-server ended at once: %w", s.err)
		case <-ctx.Done():
			return fmt.Errorf("redis-server does not answer: %w", ctx.Err())
		}
	}
	return nil
}

// Addr returns host and port.
func (s *Server) Addr() string { return s.addr }

// URL returns the URL for redis.url.
func (s *Server) URL() string { return "redis://" + s.addr + "/0" }

// Dir returns the folder that keeps its data.
func (s *Server) Dir() string { return s.dir }

// PID returns the process id, for those who measure it.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Close ends the server as an operator would and waits for it. It may be called
// twice.
func (s *Server) Close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-s.exited:
		return s.removeDir()
	case <-time.After(stopWithin):
		return errors.Join(errors.New("redis-server did not stop and was killed"), s.Kill())
	}
}

// Kill ends the server with SIGKILL and waits for it. What it had not written to
// disk is lost.
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

// highestPort leaves room for the bus of a cluster's node, 10,000 ports above.
const highestPort = 65535 - 10000

func freePort() (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // only now, so that the next one is another
		if port := l.Addr().(*net.TCPAddr).Port; port <= highestPort {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port up to %d: none in 100 tries", highestPort)
}

var (
	sharedMu sync.Mutex
	shared   *Server
)

// Shared returns a server that this process starts once, for tests that keep
// apart by key prefix. Main stops it.
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

// StopShared ends the shared server, if it runs.
func StopShared() error {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		return nil
	}
	defer func() { shared = nil }()
	return shared.Close()
}
