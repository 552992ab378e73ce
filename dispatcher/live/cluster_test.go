package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// newCluster starts two masters that share the slots and returns a client.
func newCluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	var nodes []*redis.Client
	for range 2 {
		s, err := localredis.Start(t.Context(), localredis.Options{Args: []string{"--cluster-enabled", "yes", "--appendonly", "no"}})
		if errors.Is(err, localredis.ErrNotInstalled) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		node := redis.NewClient(localredistest.Options(s.Addr()))
		t.Cleanup(func() { node.Close() })
		nodes = append(nodes, node)
	}
	for i, node := range nodes {
		if err := node.ClusterAddSlotsRange(t.Context(), i*8192, i*8192+8191).Err(); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(nodes[1].Options().Addr)
	if err := nodes[0].ClusterMeet(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is whole", func() bool {
		for _, node := range nodes {
			info := node.ClusterInfo(t.Context()).Val()
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:2") {
				return false
			}
		}
		return true
	})
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Options().Addr}})
}

// On a cluster, frames arrive through sharded pub/sub, on one connection to each master.
// Frames that a lost connection missed are read from the replay log.
func TestCluster(t *testing.T) {
	rdb := newCluster(t)
	w := newWorldOn(t, rdb, true)
	p := w.start()
	var clients []*client
	const users = 20
	for user := range int64(users) {
		c := p.dial(1000 + user)
		c.next("hello")
		clients = append(clients, c)
	}
	for round := range 3 {
		for user := range int64(users) {
			w.publish(1000+user, fmt.Sprint("p", round))
		}
		if round == 1 {
			err := rdb.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
				return node.Do(ctx, "client", "kill", "type", "pubsub").Err()
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range clients {
		since := int64(0)
		for range 3 {
			f := c.next("event", "resync")
			if f.Op != "event" || f.Prev != since {
				t.Errorf("%s after %d", f.raw, since)
			}
			since = f.Seq
		}
	}
	if n := len(p.pubsub.conns); n != 2 {
		t.Errorf("%d connections to 2 masters", n)
	}
	w.revoke(1000)
	if code := clients[0].closed(); code != codeRevoked {
		t.Errorf("closed with %d", code)
	}
}
