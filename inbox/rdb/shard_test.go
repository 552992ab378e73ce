package rdb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// A testCluster is a cluster of three masters whose nodes never mark a master as failed.
type testCluster struct {
	client  *redis.ClusterClient
	servers []*localredis.Server
	keys    []string // one for each server
}

func newTestCluster(t *testing.T, args ...string) *testCluster {
	t.Helper()
	args = append(args, "--appendonly", "no", "--cluster-node-timeout", "600000")
	c := &testCluster{servers: localredistest.Cluster(t, 3, args...)}
	c.client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.servers[0].Addr()}, ContextTimeoutEnabled: true, ReadTimeout: 2 * time.Minute})
	t.Cleanup(func() { c.client.Close() })
	parts := NewPartitions(t.Name(), len(c.servers))
	for i := range c.servers {
		c.keys = append(c.keys, parts.Key(i, "k"))
	}
	for i, key := range c.keys { // also loads the topology
		node, err := c.client.MasterForKey(t.Context(), key)
		if err != nil || node.Options().Addr != c.servers[i].Addr() {
			t.Fatalf("key %d is not where it should be: %v", i, err)
		}
	}
	return c
}

// impatient returns a batcher with short limits.
func impatient(t *testing.T, client redis.UniversalClient, replicas int) *Batcher {
	b := NewBatcher(client, replicas)
	b.limits.pipeline, b.limits.silent, b.limits.probe = 500*time.Millisecond, 250*time.Millisecond, 10*time.Millisecond
	t.Cleanup(b.Close)
	return b
}

func set(t *testing.T, key string) *Command { return NewCommand(t.Context(), "set", key, "v") }

// A shard that hangs and a shard that is down delay only their own commands.
func TestShardsDelayOnlyThemselves(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t)
	b := NewBatcher(c.client, 0)
	b.limits.pipeline = time.Minute // a shard is stopped for a while
	t.Cleanup(b.Close)
	if err := b.Do(t.Context(), set(t, c.keys[0]), set(t, c.keys[1]), set(t, c.keys[2])); err != nil {
		t.Fatal(err)
	}
	resume := localredistest.Stop(t, c.servers[1])
	if err := c.servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	hung, healthy, gone := set(t, c.keys[1]), set(t, c.keys[0]), set(t, c.keys[2])
	all := b.start(t.Context(), []*Command{hung, healthy, gone})
	for range 100 { // while the other shard is stopped
		if err := b.Do(t.Context(), set(t, c.keys[0])); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-all.done:
		t.Error("a shard that is stopped has answered")
	default:
	}
	resume()
	<-all.done
	if err := errors.Join(hung.Err(), healthy.Err()); err != nil {
		t.Errorf("an error of one shard is another one's: %v", err)
	}
	if gone.Err() == nil {
		t.Error("no error of a shard that is gone")
	}
}

// Commands for a silent shard fail at once.
func TestSilentShardFailsFast(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t)
	b := impatient(t, c.client, 0)
	resume := localredistest.Stop(t, c.servers[1])
	first := b.start(t.Context(), []*Command{set(t, c.keys[1])})
	second := b.start(t.Context(), []*Command{set(t, c.keys[1])})
	<-first.done
	<-second.done // together with first, not by itself
	command := set(t, c.keys[1])
	if err := b.Do(t.Context(), command, set(t, c.keys[0])); !errors.Is(err, ErrSilent) || !errors.Is(command.Err(), ErrSilent) {
		t.Errorf("error %v, want ErrSilent", err)
	}
	resume()
	eventually(t, func() bool { return b.Do(t.Context(), set(t, c.keys[1])) == nil })
}

// Closing does not wait for a shard that does not answer.
func TestCloseWithASilentShard(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t)
	b := impatient(t, c.client, 0)
	localredistest.Stop(t, c.servers[1])
	command := set(t, c.keys[1])
	if err := b.Do(t.Context(), command); err == nil {
		t.Error("no error of a shard that is stopped")
	}
	b.Close()
	if err := b.Do(t.Context(), set(t, c.keys[1])); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

// A full queue fails only the commands of its own shard.
func TestFullQueueFailsItsOwnCallers(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t)
	b := NewBatcher(c.client, 0)
	b.limits.pipeline = time.Minute // a shard is stopped for a while
	t.Cleanup(b.Close)
	b.limits.queued, b.limits.room = 8, time.Millisecond
	resume := localredistest.Stop(t, c.servers[1])
	var waiting []*call
	for range 1 + 8 { // one is in flight
		waiting = append(waiting, b.start(t.Context(), []*Command{set(t, c.keys[1])}))
		eventually(t, func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.shards[shardKey{addr: c.servers[1].Addr()}].queued == len(waiting)-1
		})
	}
	full, healthy := set(t, c.keys[1]), set(t, c.keys[0])
	if err := b.Do(t.Context(), full, healthy); !errors.Is(err, ErrFull) || healthy.Err() != nil {
		t.Errorf("error %v, want ErrFull; of another shard %v", err, healthy.Err())
	}
	resume()
	for _, w := range waiting {
		<-w.done
	}
	if err := b.Do(t.Context(), set(t, c.keys[1])); err != nil {
		t.Errorf("after the queue has moved: %v", err)
	}
}

// A slot moves to another master after the topology was loaded: commands follow the slot,
// and so does WAIT.
func TestCommandsFollowTheirSlot(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{0, 1} {
		t.Run(fmt.Sprint(replicas, " replicas"), func(t *testing.T) {
			t.Parallel()
			c := newTestCluster(t)
			if replicas > 0 {
				localredistest.Replica(t, c.servers[2], "--appendonly", "no")
			}
			b := NewBatcher(c.client, replicas)
			t.Cleanup(b.Close)
			script := NewScript("-- " + t.Name() + "\nreturn redis.call('SET', KEYS[1], ARGV[1])")
			run := func() (err error) {
				for end := time.Now().Add(time.Minute); time.Now().Before(end); {
					_, err = b.Run(t.Context(), script, []string{c.keys[1]}, "v")
					if !errors.Is(err, ErrReplicas) { // the replica may lag
						break
					}
				}
				return err
			}
			if replicas == 0 {
				if err := run(); err != nil {
					t.Fatal(err)
				}
			}
			c.startMigration(t, 1, 2)
			if err := run(); err != nil { // the node answers with ASK
				t.Errorf("while the slot is on its way: %v", err)
			}
			c.endMigration(t, 1, 2)
			if err := run(); err != nil {
				t.Errorf("after the slot has moved: %v", err)
			}
			node := redis.NewClient(&redis.Options{Addr: c.servers[2].Addr()})
			defer node.Close()
			if v := node.Get(t.Context(), c.keys[1]).Val(); v != "v" {
				t.Errorf("the new master has %q", v)
			}
		})
	}
}

// startMigration starts to migrate the slot of a server's key, whose keys were moved already.
func (c *testCluster) startMigration(t *testing.T, from, to int) {
	t.Helper()
	slot, ids := c.slot(t, from)
	c.on(t, to, "cluster", "setslot", slot, "importing", ids[from])
	c.on(t, from, "cluster", "setslot", slot, "migrating", ids[to])
	host, port, _ := strings.Cut(c.servers[to].Addr(), ":")
	c.on(t, from, "migrate", host, port, c.keys[from], 0, 5000)
}

func (c *testCluster) endMigration(t *testing.T, from, to int) {
	t.Helper()
	slot, ids := c.slot(t, from)
	c.on(t, to, "cluster", "setslot", slot, "node", ids[to])
	c.on(t, from, "cluster", "setslot", slot, "node", ids[to])
}

func (c *testCluster) slot(t *testing.T, key int) (slot any, ids []any) {
	t.Helper()
	slot = c.on(t, 0, "cluster", "keyslot", c.keys[key])
	for i := range c.servers {
		ids = append(ids, c.on(t, i, "cluster", "myid"))
	}
	return slot, ids
}

// on executes a command on one server.
func (c *testCluster) on(t *testing.T, server int, args ...any) any {
	t.Helper()
	node := redis.NewClient(&redis.Options{Addr: c.servers[server].Addr()})
	defer node.Close()
	reply, err := node.Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// Reads do not wait for replicas, and lagging replicas do not fail them.
func TestReadsWaitForNoReplica(t *testing.T) {
	t.Parallel()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	b := NewBatcher(localredistest.Client(t, server.Addr()), 1)
	t.Cleanup(b.Close)
	read := NewScript("-- " + t.Name() + "\nreturn redis.call('GET', KEYS[1])").ReadOnly()
	if _, err := b.Run(t.Context(), read, []string{t.Name()}); !errors.Is(err, nil) && !errors.Is(err, redis.Nil) {
		t.Errorf("a script that reads: %v", err)
	}
	if err := b.Do(t.Context(), NewCommand(t.Context(), "get", t.Name())); err != nil {
		t.Errorf("a command that reads: %v", err)
	}
	get, set := NewCommand(t.Context(), "get", t.Name()), set(t, t.Name())
	if err := b.Do(t.Context(), get, set); !errors.Is(err, ErrReplicas) || errors.Is(get.Err(), ErrReplicas) || !errors.Is(set.Err(), ErrReplicas) {
		t.Errorf("together: error %v, of the read %v, of the write %v", err, get.Err(), set.Err())
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for !done() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("not so after a minute")
		}
	}
}

// A master that becomes a replica answers a WAIT that is under way with an error: its writes
// are unconfirmed.
func TestWaitThatIsUnblocked(t *testing.T) {
	t.Parallel()
	server, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client := localredistest.Client(t, server.Addr())
	b := NewBatcher(client, 1)
	b.limits.replicas, b.limits.pipeline = time.Minute, 2*time.Minute
	t.Cleanup(b.Close)
	done := make(chan error, 1)
	go func() { done <- b.Do(t.Context(), set(t, t.Name())) }()
	waiting := regexp.MustCompile(`id=(\d+) .* cmd=wait `)
	eventually(t, func() bool {
		clients, err := client.ClientList(t.Context()).Result()
		m := waiting.FindStringSubmatch(clients)
		if err != nil || m == nil {
			return false
		}
		id, _ := strconv.ParseInt(m[1], 10, 64)
		return client.ClientUnblockWithError(t.Context(), id).Val() == 1
	})
	if err := <-done; !errors.Is(err, ErrReplicas) || !redis.HasErrorPrefix(err, "UNBLOCKED") {
		t.Errorf("error %v", err)
	}
}
