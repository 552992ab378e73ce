package localredistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

const (
	slots        = 16384
	startTimeout = time.Minute // of a cluster, and of a replica
)

// Cluster starts a Redis Cluster of masters that share the slots evenly, in order, with
// additional arguments for each, and returns its nodes. They end with the test.
func Cluster(t testing.TB, masters int, args ...string) []*localredis.Server {
	t.Helper()
	servers := make([]*localredis.Server, masters)
	var first []any // address of the first node and its bus
	for i := range masters {
		bus := freePort(t)
		s, err := localredis.Start(t.Context(), localredis.Options{
			Args: append([]string{"--cluster-enabled", "yes", "--cluster-port", bus}, args...),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Kill() }) // the server may be stopped
		servers[i] = s
		host, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = []any{host, port, bus}
		}
		node := redis.NewClient(&redis.Options{Addr: s.Addr()})
		err = errors.Join(
			node.ClusterAddSlotsRange(t.Context(), i*slots/masters, (i+1)*slots/masters-1).Err(),
			node.Do(t.Context(), "cluster", "set-config-epoch", i+1).Err(),
			node.Do(t.Context(), append([]any{"cluster", "meet"}, first...)...).Err(),
			node.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	for _, s := range servers {
		if err := whole(ctx, s.Addr(), masters); err != nil {
			t.Fatal(err)
		}
	}
	return servers
}

// whole waits until a node knows all nodes and reports a healthy cluster.
func whole(ctx context.Context, addr string, nodes int) error {
	node := redis.NewClient(&redis.Options{Addr: addr})
	defer node.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := node.ClusterInfo(ctx).Result()
		if err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", nodes)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not come up: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Replica starts a replica of a server, or of a master of a cluster, and waits until it is
// in sync. The replica ends with the test.
func Replica(t testing.TB, master *localredis.Server, args ...string) *localredis.Server {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica, err := localredis.Start(t.Context(), localredis.Options{Args: append([]string{"--replicaof", host, port}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { replica.Kill() }) // the server may be stopped
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	node := redis.NewClient(&redis.Options{Addr: replica.Addr()})
	defer node.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(node.Info(ctx, "replication").Val(), "master_link_status:up") {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the replica does not follow")
		}
	}
	return replica
}

// Stop stops a server's process with SIGSTOP, to simulate a host that hangs, until the
// returned function is called or the test ends.
func Stop(t testing.TB, s *localredis.Server) (resume func()) {
	t.Helper()
	if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume = func() { _ = syscall.Kill(s.PID(), syscall.SIGCONT) } // no-op when the process runs
	t.Cleanup(resume)
	return resume
}
