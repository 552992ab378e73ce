package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A shard is a master of a cluster and its replica.
type shard struct{ master, replica *node }

// shards returns the current shards of a cluster.
func (tr *trial) shards(nodes []*node) (found []shard) {
	tr.t.Helper()
	ctx := tr.t.Context()
	ids := make(map[string]*node)
	for _, n := range nodes {
		if id, err := n.client.Do(ctx, "cluster", "myid").Text(); err == nil {
			ids[id] = n
		}
	}
	for id, n := range ids {
		list, err := n.client.Do(ctx, "cluster", "replicas", id).Result()
		if err != nil {
			continue // a replica
		}
		s := shard{master: n}
		for _, line := range list.([]any) {
			s.replica = ids[strings.Fields(line.(string))[0]]
		}
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b shard) int { return strings.Compare(a.master.Addr(), b.master.Addr()) })
	return found
}

// whole waits until every shard has a replica in step and every node reports a healthy
// cluster.
func (tr *trial) whole(nodes []*node) {
	tr.t.Helper()
	ctx := tr.t.Context()
	tr.arrive("a whole cluster", func() bool {
		replicas := 0
		for _, n := range nodes {
			if ready(ctx, n.client) < len(nodes) {
				return false
			}
			if inStep(ctx, n.client) {
				replicas++
			}
		}
		return replicas == len(nodes)-masters && !slices.ContainsFunc(tr.shards(nodes), func(s shard) bool { return s.replica == nil })
	})
}

// aShard returns one of the shards.
func (tr *trial) aShard(nodes []*node) shard {
	all := tr.shards(nodes)
	return all[tr.rand.IntN(len(all))]
}

// clusterFaults are the faults of a cluster of three shards with one replica each.
func clusterFaults(nodes []*node) []fault {
	return []fault{
		{name: "failover ordered", inject: func(tr *trial) func() {
			s := tr.aShard(nodes)
			tr.takeOver(s.replica)
			return func() { tr.whole(nodes) }
		}},
		{name: "failover and back", inject: func(tr *trial) func() {
			s := tr.aShard(nodes)
			tr.takeOver(s.replica)
			tr.whole(nodes)
			return func() {
				tr.takeOver(s.master)
				tr.whole(nodes)
			}
		}},
		{name: "master killed", inject: func(tr *trial) func() {
			s := tr.aShard(nodes)
			if err := s.master.Kill(); err != nil {
				tr.t.Fatal(err)
			}
			return func() {
				s.master.again(tr.t)
				tr.whole(nodes)
			}
		}},
		{name: "shard hung", meanwhile: othersDoNotWait, inject: func(tr *trial) func() {
			s := tr.aShard(nodes)
			tr.away = tr.usersOf(s.master)
			tr.signal(s.replica.PID(), syscall.SIGSTOP)
			tr.signal(s.master.PID(), syscall.SIGSTOP)
			return func() {
				tr.signal(s.master.PID(), syscall.SIGCONT)
				tr.signal(s.replica.PID(), syscall.SIGCONT)
				tr.whole(nodes)
			}
		}},
		{name: "shard gone", meanwhile: othersAreServed, inject: func(tr *trial) func() {
			s := tr.aShard(nodes)
			tr.away = tr.usersOf(s.master)
			if err := errors.Join(s.replica.Kill(), s.master.Kill()); err != nil {
				tr.t.Fatal(err)
			}
			return func() {
				s.master.again(tr.t)
				s.replica.again(tr.t)
				tr.whole(nodes)
			}
		}},
		{name: "replica lags", inject: func(tr *trial) func() {
			pid := tr.aShard(nodes).replica.PID()
			tr.signal(pid, syscall.SIGSTOP)
			return func() {
				tr.signal(pid, syscall.SIGCONT)
				tr.whole(nodes)
			}
		}},
		{name: "slots migrated", inject: func(tr *trial) func() {
			all := tr.shards(nodes)
			i := tr.rand.IntN(len(all))
			from, to := all[i].master, all[(i+1)%len(all)].master
			slots := tr.partitionSlots(from)
			tr.migrate(from, to, slots...)
			return func() { tr.migrate(to, from, slots...) }
		}},
		{name: "subscriptions cut", inject: func(tr *trial) func() {
			cut := func() {
				for _, s := range tr.shards(nodes) {
					if err := s.master.client.ClientKillByFilter(tr.t.Context(), "type", "pubsub").Err(); err != nil {
						tr.t.Fatal(err)
					}
				}
			}
			cut()
			return cut
		}},
		{name: "scripts lost", inject: func(tr *trial) func() {
			flush := func() {
				for _, s := range tr.shards(nodes) {
					if err := s.master.client.ScriptFlush(tr.t.Context()).Err(); err != nil {
						tr.t.Fatal(err)
					}
				}
			}
			flush()
			return flush
		}},
	}
}

// takeOver makes a replica the master of its shard.
func (tr *trial) takeOver(replica *node) {
	tr.t.Helper()
	ctx := tr.t.Context()
	tr.arrive("a failover", func() bool {
		if info, err := replica.client.Info(ctx, "replication").Result(); err == nil && strings.Contains(info, "role:master") {
			return true
		}
		_ = replica.client.ClusterFailover(ctx).Err() // retried: the master may be busy
		return false
	})
}

// othersTimeout only bounds a hang: requests for users of healthy shards are answered at
// once.
const othersTimeout = time.Minute

// othersAreServed publishes an event for each reader on a healthy shard. Kabar must not
// refuse it because another shard is away.
func othersAreServed(tr *trial) { tr.others(nil) }

// othersDoNotWait is othersAreServed while a shard hangs: the readers on healthy shards
// must get answers before any user of the hanging shard does.
func othersDoNotWait(tr *trial) {
	var hung []<-chan struct{}
	for i := range tr.fleet.len() {
		answered := make(chan struct{})
		hung = append(hung, answered)
		tr.load.working.Go(func() {
			defer close(answered)
			tr.publishOnce(tr.fleet.at(i), tr.away[0])
		})
	}
	tr.others(hung)
}

// others publishes an event for each reader on a healthy shard. Unless hung is nil, the
// answer must arrive before the gateway's channel in hung is closed.
func (tr *trial) others(hung []<-chan struct{}) {
	tr.t.Helper()
	var asking sync.WaitGroup
	defer asking.Wait()
	for user := firstReader; user < firstReader+readers; user++ {
		if slices.Contains(tr.away, user) {
			continue
		}
		i := user % tr.fleet.len()
		asking.Go(func() {
			begun := time.Now()
			if answer := tr.publishOnce(tr.fleet.at(i), user); answer != "" {
				tr.checker.suffered(user, answer)
			}
			if hung == nil {
				return
			}
			took := int64(time.Since(begun))
			for slowest := tr.slowest.Load(); took > slowest && !tr.slowest.CompareAndSwap(slowest, took); {
				slowest = tr.slowest.Load()
			}
			select {
			case <-hung[i]:
				tr.checker.suffered(user, "answered after the shard that hangs")
			default:
			}
		})
	}
}

// publishOnce publishes an event for a reader, and returns the answer unless it is a
// success.
func (tr *trial) publishOnce(p *process, user int) (answer string) {
	id := fmt.Sprint("o", tr.published.Add(1))
	client := &http.Client{Timeout: othersTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	tr.checker.sendEvent(id, time.Now(), false, user)
	status, body, err := p.ask(tr.t.Context(), client, "POST", "/v2/events.json", serviceKey, asJSON, eventBody(id, user))
	if status != http.StatusAccepted {
		return fmt.Sprint(status, " ", body["code"], " ", err)
	}
	tr.checker.eventAcked(id, time.Now(), user)
	return ""
}

// usersOf returns the readers whose partition lies on a node.
func (tr *trial) usersOf(n *node) (users []int) {
	slots := tr.partitionSlots(n)
	for user := firstReader; user < firstReader+readers; user++ {
		slot, err := n.client.ClusterKeySlot(tr.t.Context(), partitions.Users(partitions.OfUser(int64(user)))).Result()
		if err != nil {
			tr.t.Fatal(err)
		}
		if slices.Contains(slots, int(slot)) {
			users = append(users, user)
		}
	}
	return users
}

// partitionSlots returns the slots of the partitions on a node.
func (tr *trial) partitionSlots(n *node) (held []int) {
	tr.t.Helper()
	ctx := tr.t.Context()
	for i := range partitions.Len() {
		key := partitions.Users(i)
		if err := n.client.Exists(ctx, key).Err(); err != nil {
			continue // MOVED
		}
		slot, err := n.client.ClusterKeySlot(ctx, key).Result()
		if err != nil {
			tr.t.Fatal(err)
		}
		held = append(held, int(slot))
	}
	return held
}

// migrate moves slots with their keys, as redis-cli does.
func (tr *trial) migrate(from, to *node, slots ...int) {
	tr.t.Helper()
	ctx := tr.t.Context()
	fromID, err := from.client.Do(ctx, "cluster", "myid").Text()
	toID, err2 := to.client.Do(ctx, "cluster", "myid").Text()
	if err := errors.Join(err, err2); err != nil {
		tr.t.Fatal(err)
	}
	for _, slot := range slots {
		if err := errors.Join(
			to.client.Do(ctx, "cluster", "setslot", slot, "importing", fromID).Err(),
			from.client.Do(ctx, "cluster", "setslot", slot, "migrating", toID).Err(),
			moveKeys(ctx, from, to, slot),
			to.client.Do(ctx, "cluster", "setslot", slot, "node", toID).Err(),
			from.client.Do(ctx, "cluster", "setslot", slot, "node", toID).Err(),
		); err != nil {
			tr.t.Fatalf("migrate slot %d: %v", slot, err)
		}
	}
}

func moveKeys(ctx context.Context, from, to *node, slot int) error {
	host, port, _ := strings.Cut(to.Addr(), ":")
	for {
		keys, err := from.client.ClusterGetKeysInSlot(ctx, slot, 100).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		args := []any{"migrate", host, port, "", 0, 5000, "keys"}
		for _, k := range keys {
			args = append(args, k)
		}
		if err := from.client.Do(ctx, args...).Err(); err != nil {
			return fmt.Errorf("move keys: %w", err)
		}
	}
}

// On a cluster with one replica for each shard, a failover loses nothing with
// redis.wait_replicas at 1.
func TestFaultsOnACluster(t *testing.T) {
	long := faultTime(t, 3)
	if long == 0 {
		t.Skip("only in make faults: " + faultsVariable + " is not set")
	}
	nodes := startClusterNodes(t, 1, "--appendfsync", "always", "--cluster-node-timeout", "2000",
		"--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb")
	tr := newTrial(t)
	tr.checker.failsOver = true
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, n.Addr())
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: hosts})
	t.Cleanup(func() { cluster.Close() })
	tr.rdb = cluster
	tr.vars = append(tr.vars, "KABAR_REDIS_URL="+clusterURL(nodes), "KABAR_REDIS_WAIT_REPLICAS=1")
	tr.run(long, slices.Concat(processFaults, clusterFaults(nodes)))
}
