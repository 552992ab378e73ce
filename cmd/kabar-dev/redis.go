package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// A store is the playground's Redis.
type store struct {
	url      string
	embedded bool
	about    string       // a description for people
	close    func() error // stops it cleanly
	kill     func() error // stops it at once
}

// openStore starts redis-server with a data folder, or an embedded Redis that keeps nothing
// when redis-server is not installed or embedded is set.
func openStore(ctx context.Context, dir string, embedded bool) (*store, error) {
	if embedded {
		return openEmbedded("as --in-memory asks for")
	}
	s, err := openServer(ctx, dir)
	if errors.Is(err, localredis.ErrNotInstalled) {
		return openEmbedded("since redis-server is not installed")
	}
	return s, err
}

func openEmbedded(why string) (*store, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // keys expire, as in Redis
	if err := m.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	end := func() error { m.Close(); return nil }
	return &store{
		url:      "redis://" + m.Addr() + "/0",
		embedded: true,
		about:    "embedded in this process, " + why,
		close:    end,
		kill:     end,
	}, nil
}

// Names in the data folder.
const (
	lockName    = "lock"
	redisName   = "redis"         // redis-server's own folder
	addressName = "redis-address" // where the redis-server of this folder listens
)

const orphanTimeout = 5 * time.Second // for stopping a redis-server left behind

// openServer starts redis-server with a data folder, and locks the folder.
func openServer(ctx context.Context, dir string) (_ *store, err error) {
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unlock())
		}
	}()
	address := filepath.Join(dir, addressName)
	if err := endOrphan(ctx, dir); err != nil {
		return nil, err
	}
	s, err := localredis.Start(ctx, localredis.Options{Dir: filepath.Join(dir, redisName), Group: true})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(address, []byte(s.Addr()), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("remember where redis-server listens: %w", err), s.Close())
	}
	return &store{
		url:   s.URL(),
		about: "redis-server, a child of this process, on " + s.Addr(),
		close: func() error { return errors.Join(s.Close(), os.Remove(address), unlock()) },
		kill:  s.Kill,
	}, nil
}

// lock creates the data folder and locks it for this process.
func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another kabar-dev runs over %s; stop that one, or choose another folder with --data", dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil // closing the file releases the lock
}

// endOrphan stops the redis-server that a killed playground has left running, because two
// of them would corrupt the data. As this process holds the folder's lock, a server in the
// folder belongs to no other playground.
func endOrphan(ctx context.Context, dir string) error {
	address, err := os.ReadFile(filepath.Join(dir, addressName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a redis-server left behind: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, orphanTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", string(address))
	if err != nil {
		return nil // it does not run any more
	}
	conn.Close()
	c := redis.NewClient(&redis.Options{Addr: string(address), MaxRetries: -1, ClientName: "kabar-dev"})
	defer c.Close()
	config, err := c.ConfigGet(ctx, "dir").Result()
	if err != nil || !sameFolder(config["dir"], filepath.Join(dir, redisName)) {
		return nil // another program uses its port
	}
	if err := c.Shutdown(ctx).Err(); err != nil {
		return fmt.Errorf("stop the redis-server that was left behind on %s: %w", address, err)
	}
	return nil
}

func sameFolder(a, b string) bool {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}
