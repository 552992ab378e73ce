package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// startCluster starts a Redis Cluster of three masters and returns its URL.
func startCluster(t *testing.T) string {
	t.Helper()
	const masters, slots = 3, 16384
	ctx := t.Context()
	var hosts []string
	var nodes []*redis.Client
	var first string
	for i := range masters {
		bus := freePort(t)
		server, err := localredis.Start(ctx, localredis.Options{
			Dir: t.TempDir(), Args: []string{"--cluster-enabled", "yes", "--cluster-port", bus},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		node := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { node.Close() })
		hosts, nodes = append(hosts, server.Addr()), append(nodes, node)
		host, port, err := net.SplitHostPort(server.Addr())
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
		err = errors.Join(
			node.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(),
			node.Do(ctx, "cluster", "set-config-epoch", i+1).Err(),
			node.Do(ctx, meet...).Err())
		if err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(waitTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, node := range nodes {
		for ready(ctx, node) < masters {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("the cluster does not come up")
			}
		}
	}
	return "redis-cluster://" + strings.Join(hosts, ",")
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

func freePort(t *testing.T) string {
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

// TestCluster runs the gateway on a Redis Cluster. The users of all partitions get their
// pushes, and another process takes over when one is killed.
func TestCluster(t *testing.T) {
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_REDIS_URL="+startCluster(t))
	p := s.serve()
	const users = 24
	for user := 1; user <= users; user++ {
		p.user(user)
		p.device(user, "android", "reg_id", fmt.Sprint("A", user))
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
	s.must("", "doctor")
	if status, answer := second.call("DELETE", "/v2/users/1.json", serviceKey, "", ""); status != 200 {
		t.Errorf("erase: %d %v", status, answer)
	}
	if status, _ := second.call("GET", "/v2/notifications/unreads.json", "1:t", "", ""); status != 401 {
		t.Errorf("the erased user signs in: %d", status)
	}
	s.must("", "audit")
}
