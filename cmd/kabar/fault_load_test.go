package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// The users of the load. Users of different kinds do not overlap, so that each check is
// exact: readers have phones of their own, movers share phones, talkers chat. They are so
// many that an Android phone gets fewer pushes than FCM allows to one device for hours, 0.7
// a second; see devices.Registry.AdmitCommand.
const (
	firstReader, readers = 1, 150
	firstMover, movers   = 301, 4
	firstTalker, talkers = 401, 6
	talkerSockets        = 2
	publishers           = 3
	movingTokens         = 6
	requestTimeout       = 4 * time.Second
)

// A load is a set of clients that follow Kabar's documents: they repeat a request that was
// not acknowledged with the same id, at any process. The load records everything in the
// checker. It starts no operation after stop is closed, and continues each started
// operation until it is acknowledged or ctx ends.
type load struct {
	fleet   *fleet
	checker *checker
	seed    uint64
	client  *http.Client
	talk    []*talker
	stop    chan struct{}

	working, listening sync.WaitGroup // working counts operations, listening counts sockets

	acks     [4]atomic.Int64 // by kind
	stay     atomic.Bool     // no token starts to move
	latency  latencies
	mu       sync.Mutex
	last     time.Time     // when the newest event was acknowledged
	away     time.Duration // the longest time without an acknowledged event
	refusals map[string]int
}

// The kinds of operations.
const (
	publishing = iota
	reading
	registering
	talking
)

func newLoad(f *fleet, c *checker, seed uint64) *load {
	return &load{
		fleet: f, checker: c, seed: seed, stop: make(chan struct{}), refusals: make(map[string]int),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: requestTimeout},
	}
}

// prepare registers the users and their devices, before the first fault.
func (l *load) prepare(s *site) {
	p := l.fleet.at(0)
	for _, group := range [][2]int{{firstReader, readers}, {firstMover, movers}, {firstTalker, talkers}} {
		for user := group[0]; user < group[0]+group[1]; user++ {
			p.user(user)
		}
	}
	for user := firstReader; user < firstReader+readers; user++ {
		l.own(p, user, "android")
		if user%2 == 0 {
			l.own(p, user, "ios")
		}
	}
	for user := firstTalker; user < firstTalker+talkers; user++ {
		l.own(p, user, "android")
	}
}

// own registers a device that belongs to a user for the whole trial.
func (l *load) own(p *process, user int, platform string) {
	p.t.Helper()
	token := stableToken(user, platform)
	l.checker.owns(user, token)
	p.register(user, platform, token)
}

// stableToken is the token of a user's own device.
func stableToken(user int, platform string) string {
	if platform == "ios" {
		return fmt.Sprint("I", user)
	}
	return fmt.Sprint("A", user)
}

// start starts the clients.
func (l *load) start(ctx context.Context) {
	l.last = time.Now()
	for n := range publishers {
		l.working.Go(func() { l.publish(ctx, n) })
	}
	for n := range 2 {
		l.working.Go(func() { l.move(ctx, n) })
	}
	l.working.Go(func() { l.read(ctx) })
	for user := firstTalker; user < firstTalker+talkers; user++ {
		for n := range talkerSockets {
			t := &talker{load: l, user: user, name: fmt.Sprintf("socket %d of user %d", n, user), rand: l.random(user*10 + n), answers: make(chan liveFrame, 64)}
			l.talk = append(l.talk, t)
			l.listening.Go(func() { t.live(ctx) })
			if n == 0 {
				l.working.Go(func() { t.say(ctx) })
			}
		}
	}
}

func (l *load) random(n int) *rand.Rand { return rand.New(rand.NewPCG(l.seed, uint64(n))) }

// stopped reports whether no new operation may start.
func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// pause sets the rate of the load: it sleeps for d, or until the load ends.
func (l *load) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// acknowledge counts an acknowledged operation.
func (l *load) acknowledge(kind int) {
	l.acks[kind].Add(1)
	if kind != publishing {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.away = max(l.away, now.Sub(l.last))
	l.last = now
}

// awayAtMost returns the longest time without an acknowledged event since the last call.
func (l *load) awayAtMost() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	away := max(l.away, time.Since(l.last))
	l.away = 0
	return away
}

// refuse counts answers that are not a success, by their text.
func (l *load) refuse(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals[what]++
}

// refused returns the counts of refuse.
func (l *load) refused() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.refusals)
}

// ask sends a request to any process. It returns false when there was no answer.
func (l *load) ask(ctx context.Context, r *rand.Rand, method, path, auth, contentType, body string) (status int, answer map[string]any, answered bool) {
	status, answer, err := l.fleet.at(r.IntN(l.fleet.len())).ask(ctx, l.client, method, path, auth, contentType, body)
	if err != nil {
		l.refuse("no answer")
		return 0, nil, false
	}
	if status >= 300 {
		l.refuse(fmt.Sprint(status, " ", answer["code"]))
	}
	return status, answer, true
}

// retryPause is the time before a client repeats a request.
const retryPause = 100 * time.Millisecond

// eventText is the text of the event's notification and pushes. It contains the event's id.
func eventText(id string) string { return "peristiwa " + id }

// eventBody is an event about money, or a promotion when its id contains the receiver:
// pushes of promotions do not name their receiver.
func eventBody(id string, receivers ...int) string {
	kind := "dompet"
	if strings.Contains(id, "@") {
		kind = "announcement"
	}
	list, _ := json.Marshal(receivers)
	return fmt.Sprintf(`{"id":%q,"type":%q,"receiver_ids":%s,"title":"Kabar","message":%q,"details":{"id":%q}}`, id, kind, list, eventText(id), id)
}

// publish publishes events, one after the other. One of five has two receivers, one of ten
// is a promotion, and one of ten is published twice. One of twenty receivers is a mover.
func (l *load) publish(ctx context.Context, n int) {
	r := l.random(n)
	someone := func() int {
		if r.IntN(20) == 0 {
			return firstMover + r.IntN(movers)
		}
		return firstReader + r.IntN(readers)
	}
	for i := 0; !l.stopped() && ctx.Err() == nil; i++ {
		receivers, id := []int{someone()}, fmt.Sprintf("e%d.%d", n, i)
		switch r.IntN(10) {
		case 0, 1:
			if other := someone(); other != receivers[0] {
				receivers = append(receivers, other)
			}
		case 2:
			id = fmt.Sprint(id, "@", receivers[0])
		}
		begun := time.Now()
		l.checker.sendEvent(id, begun, false, receivers...)
		if l.publishUntilAcked(ctx, r, id, receivers) {
			l.latency.add(time.Since(begun))
		}
		if r.IntN(10) == 0 {
			l.ask(ctx, r, "POST", "/v2/events.json", serviceKey, asJSON, eventBody(id, receivers...))
		}
		l.pause(ctx, 25*time.Millisecond)
	}
}

func (l *load) publishUntilAcked(ctx context.Context, r *rand.Rand, id string, receivers []int) bool {
	for ctx.Err() == nil {
		if status, _, _ := l.ask(ctx, r, "POST", "/v2/events.json", serviceKey, asJSON, eventBody(id, receivers...)); status == http.StatusAccepted {
			l.checker.eventAcked(id, time.Now(), receivers...)
			l.acknowledge(publishing)
			return true
		}
		l.pause(ctx, retryPause)
	}
	return false
}

// move registers moving tokens, for one user after the other.
func (l *load) move(ctx context.Context, n int) {
	r := l.random(100 + n)
	for !l.stopped() && ctx.Err() == nil {
		token := fmt.Sprint("M", n+2*r.IntN(movingTokens/2))
		if !l.stay.Load() {
			l.registerUntilAcked(ctx, r, token, firstMover+r.IntN(movers))
		}
		l.pause(ctx, 100*time.Millisecond)
	}
}

func (l *load) registerUntilAcked(ctx context.Context, r *rand.Rand, token string, user int) {
	for ctx.Err() == nil {
		try := l.checker.register(token, user, time.Now())
		status, _, answered := l.ask(ctx, r, "POST", "/v2/notifications/android.json", fmt.Sprint(user, ":t"), asForm, "reg_id="+token)
		o := refused
		switch {
		case !answered:
			o = unanswered
		case status == http.StatusOK:
			o = acknowledged
		}
		l.checker.registered(token, try, o, time.Now())
		if o == acknowledged {
			l.acknowledge(registering)
			return
		}
		l.pause(ctx, retryPause)
	}
}

// read marks notifications as read.
func (l *load) read(ctx context.Context) {
	r := l.random(200)
	for !l.stopped() && ctx.Err() == nil {
		user := firstReader + r.IntN(readers)
		auth := fmt.Sprint(user, ":t")
		_, answer, _ := l.ask(ctx, r, "GET", listPath(1+r.IntN(3), 20), auth, "", "")
		entries := listEntries(answer)
		if len(entries) == 0 {
			l.pause(ctx, retryPause)
			continue
		}
		e := entries[r.IntN(len(entries))]
		l.checker.askRead(user, e.event)
		if status, _, _ := l.ask(ctx, r, "PATCH", "/v2/notifications/"+e.id+".json", auth, "", ""); status == http.StatusOK {
			l.checker.readAcked(user, e.event)
			l.acknowledge(reading)
		}
		l.pause(ctx, 50*time.Millisecond)
	}
}

func listPath(page, perPage int) string {
	return fmt.Sprintf("/v2/notifications/list.json?type[]=dompet&type[]=announcement&page=%d&per_page=%d", page, perPage)
}

// A listEntry is a notification in list.json.
type listEntry struct {
	id, event string
	read      bool
}

func listEntries(answer map[string]any) []listEntry {
	data, _ := answer["data"].([]any)
	entries := make([]listEntry, 0, len(data))
	for _, d := range data {
		m, _ := d.(map[string]any)
		id, _ := m["id"].(string)
		text, _ := m["message"].(string)
		read, _ := m["read_state"].(bool)
		entries = append(entries, listEntry{id, strings.TrimPrefix(text, eventText("")), read})
	}
	return entries
}

// phone records a push when the sandbox accepts it, before the gateway gets the answer.
func (c *checker) phone(p *sandbox.Push) {
	if !p.Accepted() || strings.HasPrefix(p.Token, victimTokens) {
		return
	}
	var body struct {
		Data    map[string]any
		Android struct{ Notification struct{ Tag string } }
	}
	if json.Unmarshal(p.Body, &body) != nil || body.Data["type"] == "reminder" {
		return
	}
	if body.Data == nil || body.Data["type"] == "dismiss" { // a badge alone, and what was read elsewhere
		return
	}
	c.meter.message(p)
	text, _ := body.Data["message"].(string)
	event := strings.TrimPrefix(text, eventText(""))
	_, owner, promotion := strings.Cut(event, "@")
	if !promotion {
		owner = fmt.Sprint(body.Data["receiver_id"])
	}
	receiver, _ := strconv.Atoi(owner)
	c.pushed(p.Token, receiver, event, body.Android.Notification.Tag+p.Header.Get("Apns-Collapse-Id"), p.At)
}

// latencies are the latest durations of an operation.
type latencies struct {
	mu   sync.Mutex
	took []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, d)
}
