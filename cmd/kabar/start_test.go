package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/cmd/internal/redischeck"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// adminOf connects to a Redis as its operator.
func adminOf(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c
}

// ready asks /readyz.
func (p *process) ready() (status int, body string) {
	p.t.Helper()
	resp, err := http.Get(p.admin + "/readyz")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// A gateway whose Redis user has exactly the documented rights can do everything, on one
// Redis and on a cluster, and Redis denies no command.
func TestServeWithTheDocumentedRights(t *testing.T) {
	for _, kind := range []string{"single", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.shortLease()
			url := s.redis.URL()
			if kind == "cluster" {
				url = startCluster(t)
			}
			scheme, rest, _ := strings.Cut(url, "://")
			hosts, _, _ := strings.Cut(rest, "/")
			var nodes []*redis.Client
			for host := range strings.SplitSeq(hosts, ",") {
				node := adminOf(t, host)
				args := []any{"acl", "setuser", "kabar", "reset", "on", ">p"}
				for _, rule := range strings.Fields(redischeck.ACLRules("kabar")) {
					args = append(args, rule)
				}
				if err := node.Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
				nodes = append(nodes, node)
			}
			s.vars = append(s.vars, "KABAR_REDIS_URL="+scheme+"://kabar:p@"+rest)
			s.must("", "doctor")
			s.useEverything()
			for _, node := range nodes {
				denied, err := node.ACLLog(t.Context(), 20).Result()
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range denied {
					if d.Object == "config|get" {
						continue // the doctor does not require it
					}
					t.Errorf("denied: %s in %s (%s)", d.Object, d.Context, d.Reason)
				}
			}
		})
	}
}

// useEverything uses every function of users, services and the operator.
func (s *site) useEverything() {
	t := s.t
	t.Helper()
	p := s.serve()
	for user := 1; user <= 8; user++ {
		p.user(user)
		p.device(user, "android", fmt.Sprint("A", user))
	}
	socket := p.dial(1, "")
	socket.next("hello")
	for user := 1; user <= 8; user++ {
		p.publish(dompetEvent(fmt.Sprint("e", user), user))
		token := fmt.Sprint("A", user)
		s.arrive("push to "+token, func() bool { return len(s.count(token)) == 1 })
	}
	if frame, code := socket.next("event"); frame == nil {
		t.Errorf("the socket was closed: %v", code)
	}
	ok := func(want int, method, path, auth, contentType, body string) {
		t.Helper()
		if status, answer := p.call(method, path, auth, contentType, body); status != want {
			t.Errorf("%s %s: %d %v", method, path, status, answer)
		}
	}
	ok(200, "POST", "/v2/messages.json", "2:t", asForm, "instant_message[receiver_id]=1&instant_message[category]=0&instant_message[body_bb]=hai+kabar&instant_message[client_id]=c")
	if frame, code := socket.next("event"); frame == nil {
		t.Errorf("the socket was closed: %v", code)
	}
	ok(200, "GET", "/v2/messages.json?keywords=hai", "1:t", "", "")
	ok(200, "GET", "/v2/notifications/unreads.json", "1:t", "", "")
	ok(200, "GET", "/v2/notifications/list.json", "1:t", "", "")
	ok(200, "PATCH", "/v2/notifications.json", "1:t", asForm, "")
	ok(200, "PATCH", "/v2/notifications/config.json", "3:t", asForm, "reg_id=A3&config[report]=0")
	ok(200, "POST", "/v2/live/ticket.json", "1:t", asForm, "")
	state := p.broadcast("promo", `,"audience":{"user_ids":[4,5,6]}`)
	s.arrive("the broadcast", func() bool { state, _ := state(); return state == "done" })
	s.arrive("its pushes", func() bool { return len(s.count("A4")) == 2 && len(s.count("A6")) == 2 })
	s.sandbox.FCM.Hang(true)
	p.publish(dompetEvent("late", 7))
	s.arrive("a push under way", func() bool { return s.sandbox.FCM.Pending() > 0 })
	p.kill()
	s.sandbox.FCM.Hang(false)
	p = s.serve()
	s.arrive("the push of the process that died", func() bool { return len(s.count("A7")) == 2 })
	if status, answer := p.call("DELETE", "/v2/users/1.json", serviceKey, "", ""); status != 200 {
		t.Errorf("erase: %d %v", status, answer)
	}
	s.arrive("ready, with nothing to add", func() bool { status, body := p.ready(); return status == 200 && body == "ready\n" })
	s.must("", "dead", "list")
	s.must("", "devices", "2")
	s.must("", "audit")
	if err := p.term(); err != nil {
		t.Error(err)
	}
}

// A gateway that starts at maxmemory serves reads, reports OOM at /readyz, and stores again
// when memory is free.
func TestStartOnAFullRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--maxmemory-policy", "noeviction")
	redis := adminOf(t, s.redis.Addr())
	set := func(maxmemory string) {
		t.Helper()
		if err := redis.ConfigSet(t.Context(), "maxmemory", maxmemory).Err(); err != nil {
			t.Fatal(err)
		}
	}
	first := s.serve()
	first.user(66)
	first.publish(dompetEvent("e", 66))
	if err := first.term(); err != nil {
		t.Fatal(err)
	}
	set("1")
	p := s.serve()
	if status, unreads := p.call("GET", "/v2/notifications/unreads.json", "66:t", "", ""); status != 200 || unreads["unread_notifications"] != 1.0 {
		t.Errorf("unreads: %d %v", status, unreads)
	}
	s.arrive("the full memory is reported", func() bool {
		status, body := p.ready()
		return status == 503 && strings.Contains(body, s.redis.Addr()+": OOM, its memory is full")
	})
	if status, answer := p.call("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent("f", 66)); status != 503 {
		t.Errorf("publishing: %d %v", status, answer)
	}
	set("0")
	s.arrive("ready", func() bool { status, _ := p.ready(); return status == 200 })
	p.publish(dompetEvent("f", 66))
}

// The first start waits until the gateway can write the layout of the keys.
func TestFirstStartOnAFullRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t, "--maxmemory-policy", "noeviction", "--maxmemory", "1")
	redis := adminOf(t, s.redis.Addr())
	asked := make(chan error, 1)
	go func() { // frees memory once the gateway was refused
		for t.Context().Err() == nil {
			stats, err := redis.InfoMap(t.Context(), "errorstats").Result()
			if err != nil || stats["Errorstats"]["errorstat_OOM"] != "" {
				asked <- err
				return
			}
		}
	}()
	freed := make(chan error, 1)
	go func() {
		if err := <-asked; err != nil {
			freed <- err
			return
		}
		freed <- redis.ConfigSet(t.Context(), "maxmemory", "0").Err()
	}()
	p := s.serve()
	if err := <-freed; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.logs(), "waits for it") {
		t.Errorf("it is not said that it waits:\n%s", p.logs())
	}
	p.user(66)
}

// A gateway that starts while a shard of a cluster is away serves the users of the others.
func TestStartWithoutAShard(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	url := startCluster(t)
	s.vars = append(s.vars, "KABAR_REDIS_URL="+url)
	hosts := strings.Split(strings.TrimPrefix(url, "redis-cluster://"), ",")
	for _, host := range hosts {
		if err := adminOf(t, host).ConfigSet(t.Context(), "cluster-require-full-coverage", "no").Err(); err != nil {
			t.Fatal(err)
		}
	}
	first := s.serve()
	const users = 24
	for user := 1; user <= users; user++ {
		first.user(user)
	}
	if err := first.term(); err != nil {
		t.Fatal(err)
	}
	adminOf(t, hosts[1]).ShutdownNoSave(t.Context()) // the shutdown gets no reply
	p := s.serve()
	s.arrive("one shard is reported", func() bool {
		status, body := p.ready()
		return status == 200 && strings.HasPrefix(body, "ready\n") && strings.Contains(body, hosts[1]+": away, it does not answer")
	})
	for i, want := range []float64{1, 0} {
		name := fmt.Sprintf("kabar_redis_writable{shard=%q}", hosts[i])
		s.arrive(fmt.Sprint(name, " is ", want), func() bool { got, ok := p.metrics()[name]; return ok && got == want })
	}
	served := 0
	for user := 1; user <= users; user++ {
		if status, _ := p.call("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent(fmt.Sprint("e", user), user)); status == 202 {
			served++
		}
	}
	if served < users/3 || served == users {
		t.Errorf("%d of %d users are served by two of three shards", served, users)
	}
	if err := p.term(); err != nil {
		t.Error(err)
	}
	adminOf(t, hosts[0]).ShutdownNoSave(t.Context()) // the audit at the end of a test needs every shard, or none
	adminOf(t, hosts[2]).ShutdownNoSave(t.Context())
}

// When the configuration does not fit Redis, the start fails with an error that says what
// to do.
func TestServeExplainsWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	redis := adminOf(t, s.redis.Addr())
	refuse := func(name string, wants ...string) {
		t.Helper()
		out, err := s.command("serve").CombinedOutput()
		if err == nil {
			t.Errorf("%s: it started", name)
		}
		for _, want := range wants {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: %q is not said: %s", name, want, out)
			}
		}
	}
	if err := redis.Do(t.Context(), "acl", "setuser", "kabar", "on", ">p", "~*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	vars := s.vars
	s.vars = append(vars, "KABAR_REDIS_URL=redis://kabar:p@"+s.redis.Addr())
	refuse("no channels", "Redis user kabar", "PUBLISH and SUBSCRIBE on channels kabar:*", "add &kabar:*")
	s.vars = append(vars, "KABAR_REDIS_URL=redis-cluster://"+s.redis.Addr())
	refuse("no cluster", "begin redis.url with redis://")
	s.vars = vars
	if err := redis.Set(t.Context(), "kabar:partitions", "many", 0).Err(); err != nil {
		t.Fatal(err)
	}
	refuse("garbage", `kabar:partitions holds "many"`, "redis.prefix")
	redis.Set(t.Context(), "kabar:partitions", "16", 0)
	redis.Set(t.Context(), "kabar:layout", "3 16", 0)
	refuse("a later layout", "Redis has layout 3, this build uses layout 2", "redis.prefix")
	if out, err := s.command("doctor").CombinedOutput(); err == nil || !strings.Contains(string(out), "✗ layout: ") {
		t.Errorf("the doctor: %v\n%s", err, out)
	}
	redis.FlushAll(t.Context())
	s.redis.Kill()
	refuse("no Redis", "reach Redis at redis://"+s.redis.Addr())
}

// The doctor compares the number of replicas with redis.wait_replicas.
func TestDoctorLooksAtReplicas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	master := adminOf(t, s.redis.Addr())
	host, port, err := net.SplitHostPort(s.redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		replica, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Args: []string{"--replicaof", host, port}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { replica.Close() })
	}
	s.arrive("two replicas", func() bool {
		info, err := master.InfoMap(t.Context(), "replication").Result()
		return err == nil && info["Replication"]["connected_slaves"] == "2"
	})
	for _, tc := range []struct {
		wait, least int
		mark, says  string
	}{
		{0, 0, "! replicas", "redis.wait_replicas is 0 (min-replicas-to-write is 0)"},
		{1, 1, "! replicas", "2 replicas and redis.wait_replicas is 1 (min-replicas-to-write is 1)"},
		{2, 2, "✓ replicas", "all 2 replicas"},
		{3, 0, "✗ replicas", "no write is acknowledged"},
		{2, 3, "✗ replicas", "it refuses every write"},
	} {
		if err := master.ConfigSet(t.Context(), "min-replicas-to-write", fmt.Sprint(tc.least)).Err(); err != nil {
			t.Fatal(err)
		}
		vars := s.vars
		s.vars = append(vars, fmt.Sprint("KABAR_REDIS_WAIT_REPLICAS=", tc.wait))
		out, err := s.kabar("", "doctor")
		s.vars = vars
		if !strings.Contains(out, tc.mark) || !strings.Contains(out, tc.says) {
			t.Errorf("wait_replicas %d, min-replicas-to-write %d: %s", tc.wait, tc.least, out)
		}
		if failed := err != nil; failed != strings.HasPrefix(tc.mark, "✗") {
			t.Errorf("wait_replicas %d, min-replicas-to-write %d: exit %v", tc.wait, tc.least, err)
		}
	}
	if err := master.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
}
