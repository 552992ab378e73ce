package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// faultsVariable sets for how long all trials together inject faults, such as 10m. Without
// it the trial on one Redis injects a few faults that the seed chooses, and the other
// trials are skipped. faultVariable names the only fault to inject.
const (
	faultsVariable = "TEST_FAULTS"
	faultVariable  = "TEST_FAULT"
)

// fewFaults is how many faults a short trial injects.
const fewFaults = 5

// A trial is a site under load on which faults are injected one after the other.
type trial struct {
	*site
	rand    *rand.Rand
	fleet   *fleet
	load    *load
	checker *checker
	proxy   *proxy                // in front of the single Redis
	rdb     redis.UniversalClient // without the proxy
	healthy *healthy              // in a trial of providers' faults
	away    []int                 // users of the shard that is away
	suffers []suffered
	begun   time.Time

	published atomic.Int64 // events besides the load's
	slowest   atomic.Int64 // answer for a user of a healthy shard while another one hung
}

// A suffered is the cost of one kind of fault.
type suffered struct {
	name  string
	times int
	away  time.Duration // the longest time without an acknowledged event
}

// faultTime returns how long a trial injects faults, given its share in tenths of the total
// time. It returns 0 when the trial injects only a few faults.
func faultTime(t *testing.T, tenths time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(faultsVariable)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", faultsVariable, err)
	}
	return d * tenths / 10
}

// On one Redis with appendfsync always no fault loses or repeats acknowledged data, or
// shows it to the wrong user.
func TestFaultsOnOneRedis(t *testing.T) {
	long := faultTime(t, 4)
	tr := newTrial(t, "--appendfsync", "always")
	tr.proxy = startProxy(t, tr.redis.Addr())
	direct := redis.NewClient(&redis.Options{Addr: tr.redis.Addr()})
	t.Cleanup(func() { direct.Close() })
	tr.rdb = direct
	tr.vars = append(tr.vars, "KABAR_REDIS_URL="+tr.proxy.url())
	tr.run(long, slices.Concat(processFaults, redisFaults))
}

func newTrial(t *testing.T, redisArgs ...string) *trial {
	t.Helper()
	seed := newSeed(t)
	c := newChecker()
	tr := &trial{
		site: newSiteWith(t, sandbox.Options{OnPush: c.phone, History: 1000}, redisArgs...), checker: c,
		rand: rand.New(rand.NewPCG(seed, 1<<32)), fleet: &fleet{},
	}
	tr.shortLease()
	tr.vars = append(tr.vars, "KABAR_PUSH_LIVE_GRACE=1s", "KABAR_RETENTION_MAX_NOTIFICATIONS=100000")
	tr.load = newLoad(tr.fleet, c, seed)
	return tr
}

// run injects faults under load.
func (tr *trial) run(long time.Duration, table []fault) {
	tr.begin(func() {
		for i, f := range tr.choose(long, table) {
			if i > 0 && long > 0 && time.Since(tr.begun) > long {
				break
			}
			tr.suffer(&f)
		}
	})
}

// begin starts gateways and load, calls happen, and compares the result with what was
// acknowledged.
func (tr *trial) begin(happen func()) {
	tr.fleet.processes = []*process{tr.serve(), tr.serve()}
	tr.load.prepare(tr.site)
	ctx, cancel := context.WithCancel(tr.t.Context())
	defer tr.load.listening.Wait()
	defer tr.load.working.Wait()
	defer cancel()
	tr.begun = time.Now()
	tr.load.start(ctx)
	tr.recovered("nothing yet")
	happen()
	tr.finish()
	cancel()
	tr.load.listening.Wait()
	tr.judge()
}

// choose returns the faults in the order of the seed: a few of them, or a repeated sequence
// of all.
func (tr *trial) choose(long time.Duration, table []fault) (chosen []fault) {
	only := os.Getenv(faultVariable)
	table = slices.DeleteFunc(slices.Clone(table), func(f fault) bool {
		return only != "" && f.name != only
	})
	for range max(1, int(long/(2*time.Second))) {
		tr.rand.Shuffle(len(table), func(i, j int) { table[i], table[j] = table[j], table[i] })
		chosen = append(chosen, table...)
	}
	if long == 0 {
		chosen = chosen[:min(fewFaults, len(chosen))]
	}
	return chosen
}

// suffer injects a fault, ends it after one to four seconds, or later if the fault needs
// longer, and waits for progress of everything.
func (tr *trial) suffer(f *fault) {
	tr.load.awayAtMost()
	heal := f.inject(tr)
	if f.meanwhile != nil {
		f.meanwhile(tr)
	}
	tr.load.pause(tr.t.Context(), f.least+time.Second+time.Duration(tr.rand.Int64N(int64(3*time.Second))))
	heal()
	tr.recovered(f.name)
	i := slices.IndexFunc(tr.suffers, func(s suffered) bool { return s.name == f.name })
	if i < 0 {
		i = len(tr.suffers)
		tr.suffers = append(tr.suffers, suffered{name: f.name})
	}
	s := &tr.suffers[i]
	s.times++
	s.away = max(s.away, tr.load.awayAtMost())
}

// recovered waits until operations of all kinds are acknowledged, pushes arrive, and each
// socket receives something.
func (tr *trial) recovered(after string) {
	tr.t.Helper()
	met := tr.progress()
	deadline := time.After(waitTimeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		stuck := met()
		if len(stuck) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			tr.report()
			tr.t.Fatalf("after %s no progress of %s", after, strings.Join(stuck, ", "))
		}
	}
}

// progress returns a function that names everything without progress since the call.
func (tr *trial) progress() (stuck func() []string) {
	const some = 5
	watched := map[string]func() int64{
		"publishing":  tr.load.acks[publishing].Load,
		"reading":     tr.load.acks[reading].Load,
		"registering": tr.load.acks[registering].Load,
		"talking":     tr.load.acks[talking].Load,
		"pushing":     func() int64 { return int64(tr.checker.counts().pushes) },
	}
	goal := make(map[string]int64)
	for name, now := range watched {
		goal[name] = now() + some
	}
	for _, t := range tr.load.talk {
		watched[t.name] = func() int64 {
			_, frames, _ := tr.checker.position(t.name)
			return int64(frames)
		}
		goal[t.name] = watched[t.name]() + 1
	}
	return func() (names []string) {
		for name, now := range watched {
			if now() < goal[name] {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
}

// finish ends the load, and waits until nothing is in flight.
func (tr *trial) finish() {
	close(tr.load.stop)
	tr.load.working.Wait()
	tr.drained()
	tr.probe(true)
	tr.drained()
	for _, t := range tr.load.talk {
		newest := func() int64 {
			hello, _ := tr.fleet.at(0).dial(t.user, "").next("hello")
			seq, _ := hello["seq"].(float64)
			return int64(seq)
		}()
		deadline := time.Now().Add(waitTimeout / 4)
		for seq := int64(-1); seq != newest && time.Now().Before(deadline); tr.load.pause(tr.t.Context(), 20*time.Millisecond) {
			seq, _, _ = tr.checker.position(t.name)
		}
		tr.checker.newest(t.name, newest)
	}
}

// probe publishes an event for each mover. Its pushes show who owns the moving tokens; at
// the end every token must receive one.
func (tr *trial) probe(end bool) {
	for user := firstMover; user < firstMover+movers; user++ {
		id := fmt.Sprint("p", tr.published.Add(1))
		tr.checker.sendEvent(id, time.Now(), end, user)
		tr.load.publishUntilAcked(tr.t.Context(), tr.rand, id, []int{user})
	}
}

// drained waits until no push is in the outbox or delayed, and no message is to be handed
// over.
func (tr *trial) drained() {
	tr.t.Helper()
	var left []string
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); tr.load.pause(tr.t.Context(), 50*time.Millisecond) {
		if left = tr.leftovers(); len(left) == 0 {
			return
		}
	}
	tr.report()
	tr.t.Fatalf("still under way: %s", strings.Join(left, ", "))
}

// partitions are the partitions of all gateways.
var partitions = rdb.NewPartitions("kabar", 16)

func (tr *trial) leftovers() (left []string) {
	tr.t.Helper()
	counts, err := unfinished(tr.t.Context(), tr.rdb)
	if err != nil {
		return []string{err.Error()}
	}
	for key, n := range counts {
		left = append(left, fmt.Sprintf("%s: %d", key, n))
	}
	slices.Sort(left)
	return left
}

// countScript replies with the number of entries of each key, which is a stream or a sorted
// set. A full Redis refuses transactions, and not scripts that read.
var countScript = redis.NewScript(`
local counts = {}
for i, key in ipairs(KEYS) do
  counts[i] = redis.call('TYPE', key).ok == 'stream' and redis.call('XLEN', key) or redis.call('ZCARD', key)
end
return counts`)

// unfinished returns how much each key holds of what is still to be done: pushes, queued
// and delayed, and handed-over messages. It counts a partition's keys in one step, so that
// it misses nothing that moves between them.
func unfinished(ctx context.Context, client redis.UniversalClient) (map[string]int64, error) {
	left := make(map[string]int64)
	for i := range partitions.Len() {
		keys := []string{partitions.Key(i, "handoffs")}
		for _, lane := range push.Lanes {
			keys = append(keys, partitions.Key(i, "out:"+lane.String()))
			for _, app := range []string{"", ":default.android", ":default.ios.production"} { // those that wait for a circuit
				keys = append(keys, partitions.Key(i, "delayed:"+lane.String()+app))
			}
		}
		counts, err := countScript.Run(ctx, client, keys).Int64Slice()
		if err != nil {
			return nil, err
		}
		for k, n := range counts {
			if n > 0 {
				left[keys[k]] = n
			}
		}
	}
	return left, nil
}

// judge gives the checker the final state, and reports its violations.
func (tr *trial) judge() {
	tr.t.Helper()
	for _, group := range [][2]int{{firstReader, readers}, {firstMover, movers}, {firstTalker, talkers}} {
		for user := group[0]; user < group[0]+group[1]; user++ {
			tr.show(user)
		}
	}
	for i := range partitions.Len() {
		letters, err := tr.rdb.XRange(tr.t.Context(), partitions.Key(i, "dead"), "-", "+").Result()
		if err != nil {
			tr.t.Fatal(err)
		}
		for _, l := range letters {
			tr.checker.bury(fmt.Sprint(l.Values["reason"]))
		}
	}
	for what, n := range tr.load.refused() {
		if strings.Contains(what, "internal") {
			tr.checker.answered500(what, n)
		}
	}
	found := tr.checker.verdict()
	tr.report()
	kinds, count := byKind(found)
	for _, kind := range kinds {
		if tr.checker.mayLose && slices.Contains(losses, kind) {
			continue
		}
		tr.t.Errorf("%s: %d", kind, count[kind])
		for i, v := range slices.DeleteFunc(slices.Clone(found), func(v violation) bool { return v.kind != kind }) {
			if i < 10 {
				tr.t.Errorf("  %s", v.text)
			}
		}
	}
	if out, err := tr.kabar("", "audit"); err != nil && !tr.checker.mayLose {
		tr.t.Errorf("audit: %v\n%s", err, out)
	}
}

// show gives the checker a user's list, counters and conversations.
func (tr *trial) show(user int) {
	tr.t.Helper()
	p, auth := tr.fleet.at(0), fmt.Sprint(user, ":t")
	get := func(path string) (status int, answer map[string]any) {
		tr.arrive("an answer to "+path, func() bool {
			status, answer = p.call("GET", path, auth, "", "")
			return status < http.StatusInternalServerError // otherwise Redis is slow, and what is shown says nothing
		})
		return status, answer
	}
	for page := 1; ; page++ {
		_, answer := get(listPath(page, 100))
		entries := listEntries(answer)
		for _, e := range entries {
			tr.checker.list(user, e.event, e.read)
		}
		if len(entries) < 100 {
			break
		}
	}
	_, unreads := get("/v2/notifications/unreads.json")
	notifications, _ := unreads["unread_notifications"].(float64)
	messages, _ := unreads["messages"].(float64)
	tr.checker.counters(user, int(notifications), int(messages))
	if user < firstTalker {
		return
	}
	for partner := firstTalker; partner < firstTalker+talkers; partner++ {
		if partner != user {
			tr.checker.show(user, partner, conversation(get, user, partner))
		}
	}
}

// conversation returns a user's copy of a conversation, the oldest message first.
func conversation(get func(path string) (int, map[string]any), user, partner int) (messages []shownMessage) {
	id := model.ConversationID(int64(user), int64(partner))
	for page := 1; ; page++ {
		_, answer := get(fmt.Sprintf("/v2/messages/%s.json?keep_unread=1&per_page=100&page=%d", id, page))
		shown, _ := answer["instant_messages"].([]any)
		for _, s := range shown {
			m, _ := s.(map[string]any)
			var sender int
			fmt.Sscan(fmt.Sprint(m["sender_id"]), &sender)
			messages = append(messages, shownMessage{id: m["id"].(string), clientID: m["body"].(string), sender: sender, read: m["read"].(bool)})
		}
		if len(shown) < 100 {
			slices.Reverse(messages)
			return messages
		}
	}
}

// report prints the checker's account.
func (tr *trial) report() {
	tr.t.Helper()
	n := tr.checker.counts()
	tr.checker.mu.Lock()
	_, count := byKind(tr.checker.found)
	tr.checker.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s under faults for %v\n\n", tr.t.Name(), time.Since(tr.begun).Round(time.Second))
	fmt.Fprintf(w, "fault\ttimes\tseconds away at most\n")
	for _, s := range tr.suffers {
		fmt.Fprintf(w, "%s\t%d\t%.1f\n", s.name, s.times, s.away.Seconds())
	}
	fmt.Fprintf(w, "\n\tacknowledged\tlost\tdoubled\n")
	fmt.Fprintf(w, "events\t%d\t%d\t%d\n", n.events, count[eventLost], count[eventDoubled])
	fmt.Fprintf(w, "messages\t%d\t%d\t%d\n", n.messages, count[messageLost], count[messageDoubled])
	fmt.Fprintf(w, "read marks\t%d\t%d\t\n", n.reads, count[readLost])
	fmt.Fprintf(w, "registrations\t%d\t%d\t\n", n.registrations, count[registrationLost])
	fmt.Fprintf(w, "\npushes on phones %d, repeated %d, missing %d, on a wrong phone %d, buried %d\n", n.pushes, n.repeats, count[pushMissing], count[wrongOwner], count[pushBuried])
	fmt.Fprintf(w, "frames on sockets %d, gaps %d, repeated %d, resyncs %d\n", n.frames, count[socketGap], count[socketRepeat], n.resyncs)
	if tr.checker.failsOver {
		fmt.Fprintf(w, "shown twice, since a failover lost the first copy before it was acknowledged: %d\n", n.shownTwice)
	}
	if slowest := time.Duration(tr.slowest.Load()); slowest > 0 {
		fmt.Fprintf(w, "slowest answer to others while a shard hung: %.1f s\n", slowest.Seconds())
	}
	fmt.Fprintf(w, "answers that were no success: %v\n", tr.load.refused())
	w.Flush()
	tr.t.Log(b.String())
}
