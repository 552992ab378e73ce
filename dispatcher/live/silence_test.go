package live

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// quick is a short interval of heartbeats.
const quick = 20 * time.Millisecond

// A redisProxy passes all data between clients and a Redis, except messages published to
// the connections that deafen has made deaf.
type redisProxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	links []*proxyLink
}

// A proxyLink is one client's connection and the one to Redis.
type proxyLink struct {
	client, redis net.Conn
	deaf          atomic.Bool
}

func startRedisProxy(t *testing.T) *redisProxy {
	t.Helper()
	server, err := localredis.Shared()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &redisProxy{listener: l, target: server.Addr()}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.each(func(k *proxyLink) { k.close() })
		p.running.Wait()
	})
	return p
}

func (p *redisProxy) each(f func(k *proxyLink)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.links {
		f(k)
	}
}

// deafen drops from now on all messages published to the connections that are open.
func (p *redisProxy) deafen() { p.each(func(k *proxyLink) { k.deaf.Store(true) }) }

func (p *redisProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		k := &proxyLink{client: client, redis: server}
		p.mu.Lock()
		p.links = append(p.links, k)
		p.mu.Unlock()
		p.running.Go(func() { defer k.close(); _, _ = io.Copy(k.redis, k.client) })
		p.running.Go(func() { defer k.close(); k.answer() })
	}
}

func (k *proxyLink) close() { k.client.Close(); k.redis.Close() }

// answer passes on what Redis sends, value by value.
func (k *proxyLink) answer() {
	from := bufio.NewReader(k.redis)
	for {
		value, err := readValue(from)
		if err != nil {
			return
		}
		published := bytes.HasPrefix(value[1:], []byte("3\r\n$7\r\nmessage\r\n"))
		if published && k.deaf.Load() {
			continue
		}
		if _, err := k.client.Write(value); err != nil {
			return
		}
	}
}

// readValue reads one value of the Redis protocol, and returns its bytes.
func readValue(r *bufio.Reader) ([]byte, error) {
	value, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(string(bytes.TrimSpace(value[1:])))
	children := 0
	switch value[0] {
	case '$', '=', '!':
		if n >= 0 {
			body := make([]byte, n+2)
			_, err = io.ReadFull(r, body)
			value = append(value, body...)
		}
	case '*', '>', '~':
		children = n
	case '%':
		children = 2 * n
	case '|':
		children = 2*n + 1
	}
	for range children {
		child, err := readValue(r)
		if err != nil {
			return nil, err
		}
		value = append(value, child...)
	}
	return value, err
}

// A connection that answers pings but delivers no published message is renewed, and sockets
// get the messages that it dropped.
func TestDeafConnectionIsRenewed(t *testing.T) {
	w := newWorld(t)
	proxy := startRedisProxy(t)
	through := redis.NewClient(&redis.Options{Addr: proxy.listener.Addr().String()})
	t.Cleanup(func() { through.Close() })
	p := w.start(func(o *Options) { o.Redis, o.Heartbeat = through, quick })
	c := p.dial(66)
	c.next("hello")
	for i := range 3 {
		proxy.deafen()
		id := w.send(15, 66, fmt.Sprint(i))
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Errorf("%s, want %s", f.raw, id)
		}
	}
	if testutil.ToFloat64(p.metrics.renewals.WithLabelValues("deaf")) == 0 {
		t.Error("no renewal of a deaf connection is counted")
	}
	eventually(t, "the connection is heard again", func() bool {
		all, silent := p.pubsub.count()
		return all == 1 && silent == 0
	})
}

// A refusingRedis refuses to publish.
type refusingRedis struct {
	redis.UniversalClient
	tried atomic.Int64
}

func (r *refusingRedis) Publish(ctx context.Context, _ string, _ any) *redis.IntCmd {
	r.tried.Add(1)
	c := redis.NewIntCmd(ctx)
	c.SetErr(errors.New("refused by the test"))
	return c
}

// Heartbeats that cannot be published do not make a connection count as silent.
func TestUnpublishedHeartbeatsAreNoSilence(t *testing.T) {
	w := newWorld(t)
	refusing := &refusingRedis{UniversalClient: w.rdb}
	p := w.start(func(o *Options) { o.Redis, o.Heartbeat = refusing, quick })
	c := p.dial(66)
	c.next("hello")
	session := p.users.find(w.Inbox.Live.Channel(66)).heard.Load()
	eventually(t, "heartbeats were tried", func() bool { return refusing.tried.Load() > 3*maxMissed })
	if p.users.find(w.Inbox.Live.Channel(66)).heard.Load() != session {
		t.Error("the connection was renewed")
	}
	if _, silent := p.pubsub.count(); silent != 0 {
		t.Error("the connection counts as silent")
	}
	id := w.send(15, 66, "halo")
	if f := c.next("event"); f.InstantMessage.ID != id {
		t.Errorf("%s, want %s", f.raw, id)
	}
}

// A connection without channels ends, and the next user gets a new connection.
func TestUnusedConnectionEnds(t *testing.T) {
	w := newWorld(t)
	p := w.start(func(o *Options) { o.Linger, o.Heartbeat = quick, quick })
	for i := range 3 {
		c := p.dial(66)
		c.next("hello")
		id := w.send(15, 66, fmt.Sprint(i))
		if f := c.next("event"); f.InstantMessage.ID != id {
			t.Errorf("%s, want %s", f.raw, id)
		}
		c.ws.CloseNow()
		eventually(t, "no connection is left", func() bool { all, _ := p.pubsub.count(); return all == 0 })
	}
}

// A user who returns while the previous channel is being dropped receives published frames,
// in whichever order the two changes are requested.
func TestReturningUserHears(t *testing.T) {
	for _, greeted := range []bool{false, true} {
		t.Run(fmt.Sprint("greeted=", greeted), func(t *testing.T) {
			w := newWorld(t)
			p := w.start(func(o *Options) { o.Heartbeat, o.Linger = time.Hour, time.Hour }) // the test drops the channel
			first := p.dial(66)
			first.next("hello")
			channel := w.Inbox.Live.Channel(66)
			u := p.users.find(channel)
			first.ws.CloseNow()
			eventually(t, "the first socket has left", u.empty)
			var second *client
			p.users.removeIdle(0, func(u *userSockets) {
				second = p.dial(66)
				eventually(t, "the channel is requested again", func() bool {
					back := p.users.find(channel)
					return back != nil && back.conn.Load() != nil
				})
				if greeted {
					second.next("hello")
				}
				p.pubsub.unsubscribe(u)
			})
			if !greeted {
				second.next("hello")
			}
			// Earlier requests are sent before this one.
			p.dial(15).next("hello")
			id := w.send(15, 66, "halo")
			if f := second.next("event"); f.InstantMessage.ID != id {
				t.Errorf("%s, want %s", f.raw, id)
			}
		})
	}
}
