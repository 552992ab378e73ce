package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// A node is a redis-server that a test may stop and restart with the same port and data.
type node struct {
	*localredis.Server
	client *redis.Client
	args   []string
}

func startNode(t *testing.T, args ...string) *node {
	t.Helper()
	n := &node{args: args}
	var err error
	if n.Server, err = localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Args: args}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() }) // n may hold another server by then
	n.client = redis.NewClient(&redis.Options{Addr: n.Addr()})
	t.Cleanup(func() { n.client.Close() })
	return n
}

// again restarts a node that was killed.
func (n *node) again(t *testing.T) {
	t.Helper()
	var port int
	if _, err := fmt.Sscanf(n.Addr(), "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	server, err := localredis.Start(t.Context(), localredis.Options{Dir: n.Dir(), Port: port, Args: n.args})
	if err != nil {
		t.Fatal(err)
	}
	n.Server = server
}

// startCluster starts a Redis Cluster of three masters and returns its URL.
func startCluster(t *testing.T) string {
	t.Helper()
	return clusterURL(startClusterNodes(t, 0))
}

func clusterURL(nodes []*node) string {
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, n.Addr())
	}
	return "redis-cluster://" + strings.Join(hosts, ",")
}

// masters is the number of masters of a new cluster.
const masters = 3

// startClusterNodes starts a Redis Cluster of three masters with the given number of
// replicas each. The masters come first, then the first replica of each.
func startClusterNodes(t *testing.T, replicas int, args ...string) (nodes []*node) {
	t.Helper()
	const slots = 16384
	ctx := t.Context()
	var first string
	for i := range masters * (1 + replicas) {
		bus := localredistest.Port(t)
		n := startNode(t, append([]string{"--cluster-enabled", "yes", "--cluster-port", bus}, args...)...)
		nodes = append(nodes, n)
		host, port, err := net.SplitHostPort(n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = strings.Join([]string{host, port, bus}, " ")
		}
		meet := []any{"cluster", "meet"}
		for _, word := range strings.Fields(first) {
			meet = append(meet, word)
		}
		err = errors.Join(n.client.Do(ctx, "cluster", "set-config-epoch", i+1).Err(), n.client.Do(ctx, meet...).Err())
		if i < masters {
			err = errors.Join(err, n.client.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the cluster comes up", func() bool {
		return !slices.ContainsFunc(nodes, func(n *node) bool { return ready(ctx, n.client) < len(nodes) })
	})
	for i, n := range nodes[masters:] {
		id, err := nodes[i%masters].client.ClusterMyID(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "a replica", func() bool { return n.client.ClusterReplicate(ctx, id).Err() == nil })
		eventually(t, "a replica that is in step", func() bool { return inStep(ctx, n.client) })
	}
	return nodes
}

// inStep reports whether a node is a replica that is connected to its master.
func inStep(ctx context.Context, client *redis.Client) bool {
	info, err := client.Info(ctx, "replication").Result()
	return err == nil && strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up") &&
		strings.Contains(info, "master_sync_in_progress:0")
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	(&site{t: t}).arrive(what, met)
}

// ready returns how many nodes a node knows, or 0 while it does not report the cluster as
// ok.
func ready(ctx context.Context, node *redis.Client) int {
	info, err := node.ClusterInfo(ctx).Result()
	var known int
	if i := strings.Index(info, "cluster_known_nodes:"); err == nil && i >= 0 && strings.Contains(info, "cluster_state:ok") {
		fmt.Sscanf(info[i:], "cluster_known_nodes:%d", &known)
	}
	return known
}

// TestCluster runs the gateway on a Redis Cluster. The users of all partitions get their
// pushes, another process takes over when one is killed, and what is read leaves the phones.
func TestCluster(t *testing.T) {
	s := newSite(t)
	s.shortLease()
	s.vars = append(s.vars, "KABAR_REDIS_URL="+startCluster(t))
	p := s.serve()
	const users = 24
	for user := 1; user <= users; user++ {
		p.user(user)
		p.device(user, "android", fmt.Sprint("A", user))
	}
	s.sandbox.FCM.Hang(true)
	for user := 1; user <= users; user++ {
		p.publish(dompetEvent(fmt.Sprint("e", user), user))
	}
	s.arrive("pushes under way", func() bool { return s.sandbox.FCM.Pending() > 0 })
	p.kill()
	s.sandbox.FCM.Hang(false)
	second := s.serve()
	for user := 1; user <= users; user++ {
		token := fmt.Sprint("A", user)
		s.arrive("push to "+token, func() bool { return len(s.count(token)) == 1 })
	}
	if _, unreads := second.call("GET", "/v2/notifications/unreads.json", "1:t", "", ""); unreads["unread_notifications"] != 1.0 {
		t.Errorf("unreads %v", unreads)
	}
	for user := 1; user <= users; user++ {
		s.arrive("a notification on the phone", func() bool { return len(s.shade(fmt.Sprint("A", user))) == 1 })
		if status, answer := second.call("PATCH", "/v2/notifications.json", fmt.Sprint(user, ":t"), "", ""); status != 200 {
			t.Fatal(status, answer)
		}
	}
	for user := 1; user <= users; user++ {
		s.arrive("a dismissal", func() bool { return len(s.shade(fmt.Sprint("A", user))) == 0 })
	}
	s.must("", "doctor")
	if status, answer := second.call("DELETE", "/v2/users/1.json", serviceKey, "", ""); status != 200 {
		t.Errorf("erase: %d %v", status, answer)
	}
	if status, _ := second.call("GET", "/v2/notifications/unreads.json", "1:t", "", ""); status != 401 {
		t.Errorf("the erased user signs in: %d", status)
	}
	s.must("", "audit")
}
