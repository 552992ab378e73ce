package rdb

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestBatcherReloadsForgottenScripts(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		b := NewBatcher(rdb, 0)
		defer b.Close()
		ctx := context.Background()
		s := NewScript("-- " + t.Name() + "\nreturn ARGV[1]")
		for i := range 2 {
			var commands []*Command
			for n := range 3 {
				commands = append(commands, s.Command(ctx, []string{"k"}, n), NewCommand(ctx, "echo", n))
			}
			if err := b.Do(ctx, commands...); err != nil {
				t.Fatal(err)
			}
			for n, c := range commands {
				if got, err := c.Text(); got != strconv.Itoa(n/2) {
					t.Errorf("round %d, command %d: %q, %v", i, n, got, err)
				}
			}
			rdb.ScriptFlush(ctx) // as after a failover
		}
	})
}

func TestBatcherReportsEachCallersError(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		b := NewBatcher(rdb, 0)
		defer b.Close()
		ctx := context.Background()
		key := t.Name()
		rdb.Set(ctx, key, "text", 0)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := b.Do(ctx, NewCommand(ctx, "hget", key, "f")); err == nil {
					t.Error("no error of a command that failed")
				}
			})
			wg.Go(func() {
				if err := b.Do(ctx, NewCommand(ctx, "get", key+"none")); err != nil {
					t.Errorf("error %v of a command that found nothing", err)
				}
			})
		}
		wg.Wait()
	})
}

// A caller that gives up is not held up by a Redis that does not answer.
func TestRunEndsWithItsContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), MaxRetries: -1, DialerRetries: 1})
	b := NewBatcher(client, 0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := b.Run(ctx, NewScript("return 1"), []string{"k"})
		ended <- err
	}()
	conn, err := listener.Accept() // the pipeline is in progress
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	listener.Close()
	conn.Close() // ends the pipeline
	b.Close()
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestBatcherAfterClose(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		b := NewBatcher(rdb, 0)
		b.Close()
		b.Close()
		if err := b.Do(context.Background(), NewCommand(context.Background(), "ping")); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	})
}

func TestBatcherWaitsForReplicas(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		if t.Name() == "TestBatcherWaitsForReplicas/embedded" {
			t.Skip("WAIT does nothing there")
		}
		b := NewBatcher(rdb, 1)
		defer b.Close()
		ctx := context.Background()
		if err := b.Do(ctx, NewCommand(ctx, "set", t.Name(), "1")); !errors.Is(err, ErrReplicas) {
			t.Errorf("error %v without a replica, want ErrReplicas", err)
		}
	})
}

func TestPartitionsLieEvenly(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 16, 64, 1024} {
		p := NewPartitions("kabar", n)
		for i := range n {
			slot := int(crc16(p.tags[i][1:len(p.tags[i])-1])) % slots
			if slot*n/slots != i {
				t.Errorf("partition %d of %d has slot %d", i, n, slot)
			}
		}
	}
}

func TestSlotIsThatOfRedis(t *testing.T) {
	t.Parallel()
	// This is the example in the Redis Cluster specification.
	if got := crc16("123456789"); got != 0x31C3 {
		t.Errorf("crc16 is %#x", got)
	}
}
