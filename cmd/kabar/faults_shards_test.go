package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A shardSite is a site on a cluster of three masters.
type shardSite struct {
	*site
	masters []*localredis.Server
	client  *redis.ClusterClient
	parts   *rdb.Partitions
}

func newShardSite(t *testing.T) *shardSite {
	t.Helper()
	s := &shardSite{site: newSite(t), parts: rdb.NewPartitions("kabar", 16)}
	// The timeout is so long that no node marks a master as failed: a majority of them will
	// be away.
	s.masters = localredistest.Cluster(t, 3, "--cluster-node-timeout", "600000")
	var hosts []string
	for _, m := range s.masters {
		hosts = append(hosts, m.Addr())
	}
	s.vars = append(s.vars, "KABAR_REDIS_URL=redis-cluster://"+strings.Join(hosts, ","))
	s.client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: hosts})
	t.Cleanup(func() { s.client.Close() })
	return s
}

// on reports whether a partition lies on a master.
func (s *shardSite) on(master, partition int) bool {
	s.t.Helper()
	node, err := s.client.MasterForKey(s.t.Context(), s.parts.Key(partition, "x"))
	if err != nil {
		s.t.Fatal(err)
	}
	return node.Options().Addr == s.masters[master].Addr()
}

// userOn returns the first user with id from or higher whose partition lies on a master.
func (s *shardSite) userOn(master, from int) int {
	for !s.on(master, s.parts.OfUser(int64(from))) {
		from++
	}
	return from
}

// tokenOn returns a device token whose owner record lies on a master.
func (s *shardSite) tokenOn(master int, name string) string {
	for n := 0; ; n++ {
		if token := fmt.Sprint(name, "x", n); s.on(master, s.parts.Of(token)) {
			return token
		}
	}
}

// One shard hangs and another is down. Meanwhile users of the third shard are served and
// get their pushes. Events of the others are stored and pushed when their shards are back.
func TestShardsThatAreAwayDelayTheirOwnUsersOnly(t *testing.T) {
	const healthy, hung, gone = 0, 1, 2
	s := newShardSite(t)
	p := s.serve()
	var users []int
	tokens := make(map[int]string)
	for next := 1; len(users) < 8; next++ {
		next = s.userOn(healthy, next)
		users, tokens[next] = append(users, next), s.tokenOn(healthy, fmt.Sprint("A", next))
	}
	late, lost := s.userOn(hung, 1), s.userOn(gone, 1)
	tokens[late], tokens[lost] = s.tokenOn(hung, "Late"), s.tokenOn(gone, "Lost")
	halfway := s.userOn(healthy, users[len(users)-1]+1) // the token's owner record is on a hanging shard
	tokens[halfway] = s.tokenOn(hung, "Half")
	for user, token := range tokens {
		p.user(user)
		p.device(user, "android", token)
	}

	resume := localredistest.Stop(t, s.masters[hung])
	if err := s.masters[gone].Kill(); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan int, 2)
	go func() { // blocks on the hanging shard
		status, _, _ := p.try("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent("late", late))
		waiting <- status
	}()
	p.publish(dompetEvent("half", halfway))
	for round := range 3 {
		for _, user := range users { // in order: a call that waited for the hanging shard would block the next
			p.publish(dompetEvent(fmt.Sprint("e", round, "-", user), user))
		}
	}
	for _, user := range users {
		s.arrive("pushes to "+tokens[user], func() bool { return len(s.count(tokens[user])) == 3 })
	}
	if status, answer := p.call("GET", fmt.Sprintf("/v2/events/e0-%d.json", users[0]), serviceKey, "", ""); status != 200 {
		t.Errorf("the status of a healthy user's event: %d %v", status, answer)
	}
	both := fmt.Sprintf(`{"id":"both","type":"dompet","receiver_ids":[%d,%d],"message":"Dana telah dicairkan both"}`, users[0], lost)
	if status, answer := p.call("POST", "/v2/events.json", serviceKey, asJSON, both); status != 503 {
		t.Errorf("an event one of whose receivers is on the lost shard: %d %v", status, answer)
	}
	s.arrive("its push to the other receiver", func() bool { return s.count(tokens[users[0]])["Dana telah dicairkan both"] == 1 })
	for _, token := range []string{tokens[late], tokens[halfway]} {
		if n := len(s.count(token)); n > 0 {
			t.Errorf("%d pushes to %s, whose shard hangs", n, token)
		}
	}

	resume()
	<-waiting
	s.arrive("the event is taken", func() bool {
		status, _, err := p.try("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent("late", late))
		return err == nil && status == 202
	})
	for _, token := range []string{tokens[late], tokens[halfway]} {
		s.arrive("push to "+token, func() bool { return len(s.count(token)) == 1 })
	}
}

// While a replica lags, no registration or removal is answered as done; users can still
// sign in and read.
func TestRegistrationsWaitForReplicas(t *testing.T) {
	s := newSite(t)
	replica := localredistest.Replica(t, s.redis)
	s.vars = append(s.vars, "KABAR_REDIS_WAIT_REPLICAS=1")
	p := s.serve()
	for _, token := range []string{"A", "B"} {
		s.arrive("a user and a device that the replica confirms", func() bool {
			user, _ := p.call("PUT", "/v2/users/66.json", serviceKey, asJSON, `{"token":"t"}`)
			device, _ := p.call("POST", "/v2/notifications/android.json", "66:t", asForm, "reg_id="+token)
			return user == 200 && device == 200
		})
	}
	resume := localredistest.Stop(t, replica)
	requests := []struct{ what, method, path, auth, media, body string }{
		{"register", "POST", "/v2/notifications/android.json", "66:t", asForm, "reg_id=C"},
		{"replace", "PATCH", "/v2/notifications/android.json", "66:t", asForm, "old_reg_id=A&new_reg_id=D"},
		{"unregister", "DELETE", "/v2/notifications/android.json", "66:t", asForm, "reg_id=B"},
		{"set a token", "PUT", "/v2/users/66.json", serviceKey, asJSON, `{"token":"t"}`},
	}
	for _, r := range requests {
		if status, answer := p.call(r.method, r.path, r.auth, r.media, r.body); status != 503 || answer["code"] != "unavailable" {
			t.Errorf("%s while the replica lags: %d %v", r.what, status, answer)
		}
	}
	if status, answer := p.call("GET", "/v2/notifications/unreads.json", "66:t", "", ""); status != 200 {
		t.Errorf("reading while the replica lags: %d %v", status, answer)
	}
	resume()
	for _, r := range requests {
		s.arrive(r.what+" after the replica has caught up", func() bool {
			status, _ := p.call(r.method, r.path, r.auth, r.media, r.body)
			return status == 200
		})
	}
	s.vars = append(s.vars, "KABAR_REDIS_WAIT_REPLICAS=0") // the replica stops before the audit
}
