package redischeck

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// A node belongs to a cluster that serves its slots even while other nodes are away.
type node struct {
	*localredis.Server
	bus string
}

// Port returns the node's port.
func (n node) Port() int {
	_, text, _ := net.SplitHostPort(n.Addr())
	port, _ := strconv.Atoi(text)
	return port
}

func startNode(t *testing.T, o localredis.Options, bus, appendOnly string) node {
	t.Helper()
	o.Args = []string{
		"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no",
		"--maxmemory-policy", "noeviction", "--appendonly", appendOnly,
	}
	s, err := localredis.Start(t.Context(), o)
	check(t, err)
	t.Cleanup(func() { s.Close() })
	return node{s, bus}
}

// startCluster starts a cluster of three masters.
func startCluster(t *testing.T) []node {
	t.Helper()
	const masters, slots = 3, 16384
	var nodes []node
	var clients []*redis.Client
	for i := range masters {
		n := startNode(t, localredis.Options{Dir: t.TempDir()}, localredistest.Port(t), "yes")
		c := connect(t, n.Addr())
		nodes, clients = append(nodes, n), append(clients, c)
		check(t, errors.Join(
			c.ClusterAddSlotsRange(t.Context(), i*slots/masters, (i+1)*slots/masters-1).Err(),
			c.Do(t.Context(), "cluster", "set-config-epoch", i+1).Err(),
			c.Do(t.Context(), "cluster", "meet", "127.0.0.1", nodes[0].Port(), nodes[0].bus).Err()))
	}
	for _, c := range clients {
		await(t, "the cluster", func() bool {
			info, err := c.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") &&
				strings.Contains(info, "cluster_slots_assigned:16384") // the state says nothing of slots here
		})
	}
	return nodes
}
