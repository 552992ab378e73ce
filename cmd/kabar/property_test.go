package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// seedVariable is the environment variable with the random seed. A seed reproduces who
// sends to whom and what is killed when, but not how the processes interleave.
const seedVariable = "TEST_SEED"

func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	t.Logf("%s=%d", seedVariable, seed)
	return seed
}

// A fleet holds the processes that clients may connect to. One of them may be dead without
// the clients' knowledge.
type fleet struct {
	mu        sync.Mutex
	processes []*process
}

func (f *fleet) at(i int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.processes[i]
}

func (f *fleet) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.processes)
}

func (f *fleet) replace(i int, p *process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes[i] = p
}

// The size of the crowd. It must keep each user below two limits, because an error or a
// resync counts as a fault. A user may not send more messages at once, repeats included,
// than the rate limit allows (50). A user may not get more frames than the replay log holds
// for a client that comes back (128).
const (
	crowdUsers   = 40
	crowdSockets = 5 // of each user
	crowdSends   = 30
)

// newCrowd returns clients with messages to send. Every user sends the same number of
// messages to random others. All messages of one sender in one conversation are sent by the
// same client, so that their order is known.
func newCrowd(f *fleet, seed uint64) []*chatter {
	random := rand.New(rand.NewPCG(seed, 0))
	var crowd []*chatter
	for i := range crowdUsers * crowdSockets {
		crowd = append(crowd, &chatter{
			user: i/crowdSockets + 1, fleet: f, first: i % 2, rand: rand.New(rand.NewPCG(seed, uint64(i+1))),
			ready: make(chan struct{}), begin: make(chan struct{}), done: make(chan struct{}),
		})
	}
	want := make(map[int]int)
	for user := 1; user <= crowdUsers; user++ {
		for i := range crowdSends {
			to := 1 + (user+random.IntN(crowdUsers-1))%crowdUsers
			sender := crowd[(user-1)*crowdSockets+to%crowdSockets]
			sender.outgoing = append(sender.outgoing, outgoing{to: to, clientID: fmt.Sprintf("%d-%d", user, i)})
			want[user]++
			want[to]++
		}
	}
	for _, c := range crowd {
		c.want = want[c.user]
	}
	return crowd
}

// Two hundred clients of forty users chat over two processes. Meanwhile sockets are cut at
// random, and one process is killed and replaced. In the end every client holds exactly the
// acknowledged messages of its user, each once and in order.
func TestNothingIsLostOrRepeatedBetweenProcesses(t *testing.T) {
	seed := newSeed(t)
	random := rand.New(rand.NewPCG(seed, 1<<32))
	s := newSite(t, "--appendfsync", "always")
	s.shortLease()
	f := &fleet{processes: []*process{s.serve(), s.serve()}}
	for user := 1; user <= crowdUsers; user++ {
		f.at(0).user(user)
	}
	crowd := newCrowd(f, seed)
	ctx, cancel := context.WithTimeout(t.Context(), 5*waitTimeout)
	acks := make(chan string, crowdUsers*crowdSends)
	var living sync.WaitGroup
	defer living.Wait()
	defer cancel()
	for _, c := range crowd {
		living.Go(func() { c.live(ctx, acks) })
	}
	for _, c := range crowd {
		c.await(ctx, t, c.ready, "greeted")
	}
	for _, c := range crowd {
		close(c.begin)
	}

	const total = crowdUsers * crowdSends
	doomed, doom := random.IntN(2), total/4+random.IntN(total/2)
	for n := range total {
		select {
		case <-acks:
		case <-ctx.Done():
			t.Fatalf("%d of %d messages were acknowledged: %q", n, total, faults(crowd))
		}
		if random.IntN(6) == 0 {
			crowd[random.IntN(len(crowd))].cut()
		}
		if n == doom {
			f.at(doomed).kill()
			f.replace(doomed, s.serve())
		}
	}
	for _, c := range crowd {
		c.await(ctx, t, c.done, "holding everything")
	}
	s.handedOver(ctx)
	cancel()
	living.Wait()
	checkCrowd(t, f, crowd)
}

// handedOver waits until no hand-off is left. A hand-off remains when the process of a
// request dies before the message has reached the second copy.
func (s *site) handedOver(ctx context.Context) {
	s.t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	defer rdb.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := rdb.Keys(ctx, "*:handoffs").Result()
		switch {
		case err != nil:
			s.t.Fatalf("waiting for hand-offs: %v", err)
		case len(left) == 0:
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("hand-offs are left: %v", left)
		}
	}
}

func faults(crowd []*chatter) []string {
	var all []string
	for _, c := range crowd {
		c.mu.Lock()
		all = append(all, c.faults...)
		c.mu.Unlock()
	}
	return all
}

// checkCrowd checks that every client holds the acknowledged messages and has reached its
// user's newest frame. The clients must not run any more.
func checkCrowd(t *testing.T, f *fleet, crowd []*chatter) {
	t.Helper()
	acknowledged := make(map[int][]string) // by user, who is either the sender or the receiver
	for _, c := range crowd {
		for _, m := range c.sent {
			acknowledged[c.user] = append(acknowledged[c.user], m.id)
			acknowledged[m.to] = append(acknowledged[m.to], m.id)
		}
	}
	for _, ids := range acknowledged {
		slices.Sort(ids)
	}
	for i, c := range crowd {
		if hello, _ := f.at(i%2).dial(c.user, "").next("hello"); hello["seq"] != float64(c.since) {
			t.Errorf("client %d of user %d is at %d and has missed something: %v", i, c.user, c.since, hello)
		}
		var ids []string
		for _, m := range c.held {
			ids = append(ids, m.ID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, acknowledged[c.user]) {
			t.Errorf("client %d of user %d holds %d messages, %d were acknowledged", i, c.user, len(ids), len(acknowledged[c.user]))
		}
		if wrong := outOfOrder(c.held); wrong != "" {
			t.Errorf("client %d of user %d: %s", i, c.user, wrong)
		}
	}
	if all := faults(crowd); len(all) > 0 {
		t.Errorf("faults:\n%s", strings.Join(all, "\n"))
	}
}

// outOfOrder describes the first message that arrived after one with a greater id in the
// same conversation. It returns "" if there is none.
func outOfOrder(held []message) string {
	last := make(map[string]message)
	for _, m := range held {
		if before, ok := last[m.Conversation]; ok && m.ID <= before.ID {
			return fmt.Sprintf("message %s of user %s came after %s of user %s", m.ID, m.Sender, before.ID, before.Sender)
		}
		last[m.Conversation] = m
	}
	return ""
}
