package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// sentinels is the number of Sentinels that watch a master with two replicas.
const sentinels = 3

// startSentinels starts a master, two replicas and the Sentinels. It returns the nodes, the
// master first, and the Sentinels' addresses.
func startSentinels(t *testing.T, args ...string) (nodes []*node, hosts []string) {
	t.Helper()
	nodes = []*node{startNode(t, args...)}
	host, port, _ := strings.Cut(nodes[0].Addr(), ":")
	for range 2 {
		nodes = append(nodes, startNode(t, append([]string{"--replicaof", host + " " + port}, args...)...))
	}
	for range sentinels {
		hosts = append(hosts, startSentinel(t, host, port))
	}
	for _, h := range hosts {
		client := redis.NewSentinelClient(&redis.Options{Addr: h})
		t.Cleanup(func() { client.Close() })
		eventually(t, "Sentinels that know each other", func() bool {
			others, err := client.Sentinels(t.Context(), "kabar").Result()
			replicas, err2 := client.Replicas(t.Context(), "kabar").Result()
			return err == nil && err2 == nil && len(others) == sentinels-1 && len(replicas) == 2
		})
	}
	return nodes, hosts
}

// startSentinel starts one Sentinel and returns its address.
func startSentinel(t *testing.T, masterHost, masterPort string) string {
	t.Helper()
	dir, own := t.TempDir(), localredistest.Port(t)
	file := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf(`port %s
bind 127.0.0.1
dir %s
sentinel monitor kabar %s %s 2
sentinel down-after-milliseconds kabar 1000
sentinel failover-timeout kabar 3000
sentinel parallel-syncs kabar 2
`, own, dir, masterHost, masterPort)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	addr := "127.0.0.1:" + own
	client := redis.NewSentinelClient(&redis.Options{Addr: addr})
	defer client.Close()
	eventually(t, "a Sentinel", func() bool { return client.Ping(t.Context()).Err() == nil })
	return addr
}

// sentinelFaults are the faults of a master with two replicas behind Sentinel.
func sentinelFaults(nodes []*node, hosts []string) []fault {
	return []fault{
		{name: "failover ordered", inject: func(tr *trial) func() {
			client := redis.NewSentinelClient(&redis.Options{Addr: hosts[0]})
			before := tr.masterOf(client)
			tr.arrive("a failover", func() bool { return client.Failover(tr.t.Context(), "kabar").Err() == nil })
			return func() {
				defer client.Close()
				tr.arrive("another master", func() bool { return tr.masterOf(client) != before })
				tr.settled(nodes)
			}
		}},
		{name: "master killed", inject: func(tr *trial) func() {
			master := masterAmong(tr, nodes)
			if err := master.Kill(); err != nil {
				tr.t.Fatal(err)
			}
			return func() {
				eventually(tr.t, "another master", func() bool { return masterAmong(tr, nodes) != nil })
				master.again(tr.t)
				tr.settled(nodes)
			}
		}},
		{name: "master stopped", inject: func(tr *trial) func() {
			pid := masterAmong(tr, nodes).PID()
			tr.signal(pid, syscall.SIGSTOP)
			return func() {
				tr.signal(pid, syscall.SIGCONT)
				tr.settled(nodes)
			}
		}},
		{name: "failover to a replica that lags", inject: func(tr *trial) func() {
			// A write that no replica has is lost with its master: it must not be
			// acknowledged.
			master := masterAmong(tr, nodes)
			var lagging []int
			for _, n := range nodes {
				if n != master {
					lagging = append(lagging, n.PID())
					tr.signal(n.PID(), syscall.SIGSTOP)
				}
			}
			// From now on the replicas receive nothing, not even into their sockets'
			// buffers.
			if err := master.client.ClientKillByFilter(tr.t.Context(), "type", "replica").Err(); err != nil {
				tr.t.Fatal(err)
			}
			return func() {
				// No token starts to move before the trial has checked who gets its pushes.
				tr.load.stay.Store(true)
				defer tr.load.stay.Store(false)
				if err := master.Kill(); err != nil {
					tr.t.Fatal(err)
				}
				for _, pid := range lagging {
					tr.signal(pid, syscall.SIGCONT)
				}
				eventually(tr.t, "another master", func() bool { return masterAmong(tr, nodes) != nil })
				master.again(tr.t)
				tr.settled(nodes)
				pushed := tr.checker.counts().pushes
				tr.probe(false)
				tr.arrive("pushes after the failover", func() bool { return tr.checker.counts().pushes > pushed+20 })
			}
		}},
		{name: "replica lags", inject: func(tr *trial) func() {
			i := slices.IndexFunc(nodes, func(n *node) bool { return inStep(tr.t.Context(), n.client) })
			tr.signal(nodes[i].PID(), syscall.SIGSTOP)
			return func() {
				tr.signal(nodes[i].PID(), syscall.SIGCONT)
				tr.settled(nodes)
			}
		}},
	}
}

func (tr *trial) masterOf(client *redis.SentinelClient) string {
	addr, err := client.GetMasterAddrByName(tr.t.Context(), "kabar").Result()
	if err != nil {
		return ""
	}
	return strings.Join(addr, ":")
}

// masterAmong returns the node that is a master with replicas, or nil.
func masterAmong(tr *trial, nodes []*node) *node {
	for _, n := range nodes {
		if info, err := n.client.Info(tr.t.Context(), "replication").Result(); err == nil &&
			strings.Contains(info, "role:master") && !strings.Contains(info, "connected_slaves:0") {
			return n
		}
	}
	return nil
}

// settled waits until there is one master and the other nodes replicate it.
func (tr *trial) settled(nodes []*node) {
	tr.t.Helper()
	tr.arrive("two replicas in step", func() bool {
		n := 0
		for _, node := range nodes {
			if inStep(tr.t.Context(), node.client) {
				n++
			}
		}
		return n == len(nodes)-1
	})
}

// With redis.wait_replicas at the number of replicas, a failover loses no acknowledged
// data.
func TestFaultsOnSentinel(t *testing.T) { testFaultsOnSentinel(t, 2, 2) }

// Without redis.wait_replicas a failover may lose acknowledged data; the report says how
// much.
func TestFaultsOnSentinelThatWaitsForNobody(t *testing.T) { testFaultsOnSentinel(t, 0, 1) }

func testFaultsOnSentinel(t *testing.T, wait int, tenths time.Duration) {
	long := faultTime(t, tenths)
	if long == 0 {
		t.Skip("only in make faults: " + faultsVariable + " is not set")
	}
	nodes, hosts := startSentinels(t, "--appendfsync", "always", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb")
	tr := newTrial(t)
	tr.checker.failsOver, tr.checker.mayLose = true, wait == 0
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "kabar", SentinelAddrs: hosts})
	t.Cleanup(func() { failover.Close() })
	tr.rdb = failover
	tr.vars = append(tr.vars, "KABAR_REDIS_URL=redis-sentinel://"+strings.Join(hosts, ",")+"/kabar", fmt.Sprint("KABAR_REDIS_WAIT_REPLICAS=", wait))
	tr.run(long, slices.Concat(processFaults, sentinelFaults(nodes, hosts)))
}
