package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// A redisNode is a node of a cluster that can be killed and started again.
type redisNode struct {
	t      *testing.T
	dir    string
	port   int // 0 until the first start
	server *localredis.Server
	client *redis.Client
}

func startNode(t *testing.T) *redisNode {
	t.Helper()
	n := &redisNode{t: t, dir: t.TempDir()}
	n.start()
	_, port, _ := net.SplitHostPort(n.server.Addr())
	n.port, _ = strconv.Atoi(port)
	n.client = redis.NewClient(localredistest.Options(n.server.Addr()))
	t.Cleanup(func() { n.client.Close(); n.server.Kill() })
	return n
}

// start starts the node, with its previous identity if it has one.
func (n *redisNode) start() {
	n.t.Helper()
	s, err := localredis.Start(context.Background(), localredis.Options{Dir: n.dir, Port: n.port, Args: []string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "15000", "--cluster-replica-validity-factor", "0",
		"--repl-diskless-sync-delay", "0", "--appendonly", "no",
	}})
	if errors.Is(err, localredis.ErrNotInstalled) {
		n.t.Skip(err)
	} else if err != nil {
		n.t.Fatal(err)
	}
	n.server = s
}

func (n *redisNode) kill() {
	n.t.Helper()
	if err := n.server.Kill(); err != nil {
		n.t.Fatal(err)
	}
}

// do runs a command on this node.
func (n *redisNode) do(args ...any) {
	n.t.Helper()
	if err := n.client.Do(n.t.Context(), args...).Err(); err != nil {
		n.t.Fatalf("%v: %v", args, err)
	}
}

// id returns the node's name in the cluster.
func (n *redisNode) id() string {
	n.t.Helper()
	id, err := n.client.Do(n.t.Context(), "cluster", "myid").Text()
	if err != nil {
		n.t.Fatal(err)
	}
	return id
}

// promote makes a replica the master. settled must have returned: a master refuses its vote
// to a node that it does not know as a replica, and Redis asks for votes once in four times
// the node timeout, that is a minute here.
func (n *redisNode) promote() {
	n.t.Helper()
	var tried time.Time
	eventually(n.t, "the replica is promoted", func() bool {
		if strings.Contains(n.client.Info(n.t.Context(), "replication").Val(), "role:master") {
			return true
		}
		if time.Since(tried) > 6*time.Second { // Redis abandons an attempt after 5 s
			tried = time.Now()
			_ = n.client.Do(n.t.Context(), "cluster", "failover").Err() // fails once it is the master
		}
		return false
	})
}

// A replicatedCluster has three masters, and one replica of the first of them.
type replicatedCluster struct {
	t       *testing.T
	masters []*redisNode
	replica *redisNode
}

func startReplicatedCluster(t *testing.T) *replicatedCluster {
	t.Helper()
	c := &replicatedCluster{t: t, masters: []*redisNode{startNode(t), startNode(t), startNode(t)}, replica: startNode(t)}
	for i, n := range c.masters {
		n.do("cluster", "addslotsrange", i*16384/3, (i+1)*16384/3-1)
		n.do("cluster", "set-config-epoch", i+1)
	}
	for _, n := range c.nodes()[1:] {
		n.do("cluster", "meet", "127.0.0.1", c.replica.port)
	}
	eventually(t, "the nodes know each other", func() bool {
		return c.everyNode(func(n *redisNode) bool {
			return strings.Contains(n.client.ClusterInfo(t.Context()).Val(), "cluster_known_nodes:4")
		})
	})
	c.replica.do("cluster", "replicate", c.masters[0].id())
	c.settled(c.masters[0], c.replica)
	return c
}

func (c *replicatedCluster) nodes() []*redisNode {
	return append([]*redisNode{c.replica}, c.masters...)
}

func (c *replicatedCluster) everyNode(ok func(n *redisNode) bool) bool {
	for _, n := range c.nodes() {
		if !ok(n) {
			return false
		}
	}
	return true
}

// settled waits until all running nodes know the master of the first slots and its replica,
// if there is one, and until that replica has all of its master's data.
func (c *replicatedCluster) settled(master, replica *redisNode) {
	c.t.Helper()
	masterID, replicaID := master.id(), ""
	if replica != nil {
		replicaID = replica.id()
	}
	eventually(c.t, "the cluster has settled", func() bool {
		ok := c.everyNode(func(n *redisNode) bool {
			if n == c.other(master) && replica == nil {
				return true // the node does not run
			}
			nodes := n.client.ClusterNodes(c.t.Context()).Val()
			return strings.Contains(nodeLine(nodes, masterID), " connected 0-") &&
				(replica == nil || strings.Contains(nodeLine(nodes, replicaID), "slave "+masterID)) &&
				strings.Contains(n.client.ClusterInfo(c.t.Context()).Val(), "cluster_state:ok")
		})
		return ok && (replica == nil || strings.Contains(replica.client.Info(c.t.Context(), "replication").Val(), "master_link_status:up"))
	})
}

// nodeLine returns the line of CLUSTER NODES that describes a node.
func nodeLine(nodes, id string) string {
	for line := range strings.Lines(nodes) {
		if strings.HasPrefix(line, id) {
			return line
		}
	}
	return ""
}

// replicated waits until a replica has all writes of its master. Otherwise a failover would
// lose frames, and sockets that have seen them would be told to resync.
func (c *replicatedCluster) replicated(master, replica *redisNode) {
	c.t.Helper()
	want := master.offset("master_repl_offset:")
	eventually(c.t, "everything is replicated", func() bool { return replica.offset("slave_repl_offset:") >= want })
}

// offset returns a number from INFO replication.
func (n *redisNode) offset(name string) int64 {
	_, number, _ := strings.Cut(n.client.Info(n.t.Context(), "replication").Val(), name)
	number, _, _ = strings.Cut(number, "\r")
	offset, _ := strconv.ParseInt(number, 10, 64)
	return offset
}

// other returns the node that shares the first slots with n.
func (c *replicatedCluster) other(n *redisNode) *redisNode {
	if n == c.replica {
		return c.masters[0]
	}
	return c.replica
}

// A collectingCluster returns its own clients, which a test can close as go-redis closes
// the client of a node a minute after the node has left the cluster.
type collectingCluster struct {
	*redis.ClusterClient
	mu      sync.Mutex
	clients map[string]*redis.Client // by address
}

func (c *collectingCluster) MasterForKey(ctx context.Context, key string) (*redis.Client, error) {
	node, err := c.ClusterClient.MasterForKey(ctx, key)
	if err != nil {
		return nil, err
	}
	address := node.Options().Addr
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients[address] == nil {
		c.clients[address] = redis.NewClient(localredistest.Options(address))
	}
	return c.clients[address], nil
}

// collect closes the client of a node that has left.
func (c *collectingCluster) collect(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client := c.clients[address]; client != nil {
		client.Close()
		delete(c.clients, address)
	}
}

// An audience is a set of sockets of users in all partitions.
type audience struct {
	w       *world
	clients map[int64]*client
	told    int
}

func newAudience(w *world, p *process, users int) *audience {
	a := &audience{w: w, clients: make(map[int64]*client)}
	for i := range users {
		user := int64(1000 + i)
		c := p.dial(user)
		c.next("hello")
		a.clients[user] = c
	}
	return a
}

const news = `{"id":"%s","type":"discount","receiver_id":%d,"title":"%s","message":"m","details":{"image_url":null}}`

// tell publishes an event to every user, and waits until each socket has received it.
func (a *audience) tell(after string) {
	a.w.t.Helper()
	a.told++
	id := fmt.Sprint("e", a.told)
	for user := range a.clients {
		e, err := a.w.Parse(fmt.Appendf(nil, news, id, user, id))
		if err != nil {
			a.w.t.Fatal(err)
		}
		eventually(a.w.t, "an event is stored after "+after, func() bool {
			return a.w.Publish(context.Background(), "service:test", e)[0].Err == nil
		})
	}
	for user, c := range a.clients {
		for {
			f, err := c.receive()
			if err != nil {
				a.w.t.Fatalf("after %s: %s does not reach user %d: %v", after, id, user, err)
			}
			if f.Op == "resync" {
				a.w.t.Errorf("after %s: %s for user %d", after, f.raw, user)
			}
			if f.Op == "event" && strings.Contains(f.raw, `"`+id+`"`) {
				break
			}
		}
	}
}

// Sockets receive published frames after each failover, there and back, whether the master
// is asked to fail over or killed, and whether go-redis closed the node's client in between
// or not.
func TestSocketsHearAfterFailovers(t *testing.T) {
	c := startReplicatedCluster(t)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.masters[1].server.Addr(), c.masters[2].server.Addr()}})
	w := newWorldOn(t, rdb, true)
	nodes := &collectingCluster{ClusterClient: rdb, clients: make(map[string]*redis.Client)}
	t.Cleanup(func() {
		for _, n := range c.nodes() {
			nodes.collect(n.server.Addr())
		}
	})
	p := w.start(func(o *Options) { o.Redis = nodes })
	a := newAudience(w, p, 20)
	a.tell("the start")
	master, replica := c.masters[0], c.replica
	for range 2 { // there and back
		replica.promote()
		master, replica = replica, master
		c.settled(master, replica)
		a.tell("a failover that was asked for")
	}
	for range 2 {
		dead := master
		c.replicated(master, replica)
		dead.kill()
		replica.do("cluster", "failover", "takeover") // as after an election
		master, replica = replica, dead
		c.settled(master, nil)
		a.tell("a master was killed")
		nodes.collect(dead.server.Addr())
		dead.start()
		c.settled(master, replica)
		a.tell("the old master has returned as a replica")
	}
}
