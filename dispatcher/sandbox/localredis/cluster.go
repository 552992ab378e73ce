package localredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	slots          = 16384
	clusterTimeout = time.Minute // until all nodes know each other
)

// StartCluster starts a Redis Cluster of masters that share the slots evenly, in order, and
// waits until each of them knows all others. Dir and Port of the options must be empty. The
// caller must end every server; after an error none is left.
func StartCluster(ctx context.Context, masters int, o Options) (servers []*Server, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, s := range servers {
			err = errors.Join(err, s.Kill())
		}
		servers = nil
	}()
	var first []any // address of the first node and its bus
	for i := range masters {
		var bus int
		s, err := onFreePort(func(port int) (*Server, error) {
			bus = port
			node := o
			node.Args = append([]string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(port)}, o.Args...)
			return Start(ctx, node)
		})
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
		host, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			return servers, err
		}
		if i == 0 {
			first = []any{host, port, bus}
		}
		if err := s.join(ctx, i, masters, first); err != nil {
			return servers, fmt.Errorf("start a cluster: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	for _, s := range servers {
		if err := s.whole(ctx, masters); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

// join gives master i its share of the slots, and introduces it to the first one.
func (s *Server) join(ctx context.Context, i, masters int, first []any) error {
	// A command that is run again when its answer is late would fail.
	node := redis.NewClient(&redis.Options{Addr: s.addr, ReadTimeout: clusterTimeout, MaxRetries: -1})
	return errors.Join(
		node.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(),
		node.Do(ctx, "cluster", "set-config-epoch", i+1).Err(),
		node.Do(ctx, append([]any{"cluster", "meet"}, first...)...).Err(),
		node.Close())
}

// whole waits until the server knows all nodes and reports a healthy cluster.
func (s *Server) whole(ctx context.Context, nodes int) error {
	node := redis.NewClient(&redis.Options{Addr: s.addr})
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

// ClusterURL returns the addresses of a cluster's nodes as a redis-cluster:// URL, as
// Kabar's redis.url takes it.
func ClusterURL(servers []*Server) string {
	addrs := make([]string, len(servers))
	for i, s := range servers {
		addrs[i] = s.Addr()
	}
	return "redis-cluster://" + strings.Join(addrs, ",")
}
