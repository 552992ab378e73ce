package localredistest

import (
	"context"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// startTimeout limits how long a replica may take to be in sync.
const startTimeout = time.Minute

// Cluster starts a Redis Cluster of masters that share the slots evenly, in order, with
// additional arguments for each, and returns its nodes. They end with the test.
func Cluster(t testing.TB, masters int, args ...string) []*localredis.Server {
	t.Helper()
	servers, err := localredis.StartCluster(t.Context(), masters, localredis.Options{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		t.Cleanup(func() { s.Kill() }) // the server may be stopped
	}
	return servers
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

// Port returns a port that is free now, and stays so unless another server is given it.
func Port(t testing.TB) string {
	t.Helper()
	port, err := localredis.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}
