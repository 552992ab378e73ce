package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The readers of TestScreensAgreeBetweenProcesses, and who writes to them.
const (
	readingUser = 66
	writingUser = 15
)

// A reader is a user with three phones and a browser, whose page has a socket and the
// browser's subscription.
type reader struct {
	*site
	fleet            *fleet
	page             *client
	at               int // the process that has the page's socket
	events, messages int // sent
}

// Whatever is read, on a phone or in a browser, and while processes are killed: soon after
// quiet each phone shows what is unread, and the iPhone's badge counts it. The browser, which
// would have to show something for it, is never told.
func TestScreensAgreeBetweenProcesses(t *testing.T) {
	random := rand.New(rand.NewPCG(newSeed(t), 0))
	s := newSite(t)
	s.shortLease()
	s.vars = append(s.vars, "KABAR_PUSH_LIVE_GRACE=0")
	key := s.withWebPush()
	r := &reader{site: s, fleet: &fleet{processes: []*process{s.serve(), s.serve()}}}
	p := r.fleet.at(0)
	p.user(readingUser)
	p.user(writingUser)
	p.device(readingUser, "android", "system")
	p.device(readingUser, "ios", "iPhone")
	if status, answer := p.call("POST", "/v2/notifications/android.json", "66:t", asForm, "reg_id=app&style=data"); status != 200 {
		t.Fatal(status, answer)
	}
	p.subscribe(readingUser, "browser", key)
	r.open()

	for range 60 {
		p := r.fleet.at(random.IntN(2))
		switch random.IntN(12) {
		case 0, 1, 2, 3:
			r.publish(p)
		case 4, 5:
			r.write(p)
		case 6, 7: // on a phone
			if ids := r.unread(p); len(ids) > 0 {
				r.ok(p.call("PATCH", "/v2/notifications/"+ids[random.IntN(len(ids))]+".json", "66:t", "", ""))
			}
		case 8: // in the browser
			if ids := r.unread(p); len(ids) > 0 {
				r.request(fmt.Sprintf(`{"op":"read","ref":"r","notification_id":%q}`, ids[random.IntN(len(ids))]))
			}
		case 9:
			if r.messages > 0 {
				r.request(fmt.Sprintf(`{"op":"read","ref":"r","conversation_id":%q}`, sharedConversation))
			}
		case 10:
			if random.IntN(3) == 0 {
				r.ok(p.call("PATCH", "/v2/notifications.json", "66:t", "", ""))
			}
		case 11:
			r.kill(random.IntN(2))
		}
	}
	r.reconcile()
	for _, token := range []string{"system", "app", "iPhone"} {
		r.arrive("what is unread on "+token, func() bool {
			return slices.Equal(r.shade(token), r.wanted())
		})
	}
	r.arrive("the badge", func() bool { return r.phone("iPhone").Badge() == r.badge() })
	for _, push := range s.sandbox.Web.Pushes() {
		if _, shown := push.Shown(); !shown {
			t.Errorf("the browser was told %s", push.Body)
		}
	}
}

// sharedConversation is the one between the two users.
var sharedConversation = model.ConversationID(readingUser, writingUser)

func (r *reader) ok(status int, answer map[string]any) {
	r.t.Helper()
	if status != 200 {
		r.t.Fatal(status, answer)
	}
}

// open opens the page's socket.
func (r *reader) open() {
	r.t.Helper()
	r.page = r.fleet.at(r.at).dial(readingUser, "")
	r.page.next("hello")
}

// request sends a request through the page's socket and waits until it is carried out.
func (r *reader) request(frame string) {
	r.t.Helper()
	r.page.send(frame)
	if ack, code := r.page.next("ack"); ack["ref"] != "r" {
		r.t.Fatalf("the answer to %s: %v, closed with %d", frame, ack, code)
	}
}

func (r *reader) publish(p *process) {
	r.t.Helper()
	r.events++
	p.publish(dompetEvent(fmt.Sprint("e", r.events), readingUser))
}

func (r *reader) write(p *process) {
	r.t.Helper()
	r.messages++
	r.ok(p.call("POST", "/v2/messages.json", fmt.Sprint(writingUser, ":t"), asJSON,
		fmt.Sprintf(`{"instant_message":{"receiver_id":%d,"category":0,"body_bb":"halo","client_id":"c%d"}}`, readingUser, r.messages)))
}

// kill kills a process and starts another one in its place. A page whose socket was there
// comes back.
func (r *reader) kill(i int) {
	r.t.Helper()
	r.fleet.at(i).kill()
	r.fleet.replace(i, r.serve())
	if i == r.at {
		r.at = 1 - i
		r.open()
	}
}

// unread returns the ids of the unread notifications, by a phone's request.
func (r *reader) unread(p *process) (ids []string) {
	r.t.Helper()
	status, answer := p.call("GET", "/v2/notifications/list.json?type[]=dompet&per_page=100", "66:t", "", "")
	r.ok(status, answer)
	for _, entry := range answer["data"].([]any) {
		if n := entry.(map[string]any); n["read_state"] == false {
			ids = append(ids, n["id"].(string))
		}
	}
	return ids
}

// wanted returns what should be on a phone's screen, in the form of shade.
func (r *reader) wanted() []string {
	r.t.Helper()
	want := r.unread(r.fleet.at(0))
	if r.unreads()["messages"] != 0.0 {
		want = append(want, model.ConversationSubject(sharedConversation))
	}
	slices.Sort(want)
	return want
}

func (r *reader) unreads() map[string]any {
	r.t.Helper()
	status, answer := r.fleet.at(0).call("GET", "/v2/notifications/unreads.json", "66:t", "", "")
	r.ok(status, answer)
	return answer
}

// badge returns the number that an iPhone should have.
func (r *reader) badge() int {
	r.t.Helper()
	u := r.unreads()
	return int(u["messages"].(float64) + u["unread_notifications"].(float64))
}

// phone returns a phone after everything that was pushed to it.
func (s *site) phone(token string) *sandbox.Phone {
	var phone sandbox.Phone
	for _, push := range s.pushesTo(token) {
		phone.Play(&push)
	}
	return &phone
}

// shade returns what is on a phone's screen: notifications by id, and conversations by tag.
// The reminder of a new device is about nothing that could be read.
func (s *site) shade(token string) []string {
	shown := make(map[string]bool)
	for _, n := range s.phone(token).Shade() {
		switch {
		case strings.HasPrefix(n.Tag, "message:"):
			shown[n.Tag] = true
		case n.Tag != "reminder":
			shown[n.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(shown))
}

// reconcile publishes events until nothing waits for the iPhone's next push. It has had its
// background pushes of the hour, so that each push that it shows brings a part of the rest.
func (r *reader) reconcile() {
	r.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: r.redis.Addr()})
	defer client.Close()
	ctx := r.t.Context()
	settled := func() bool { // in one transaction: entries move between the two
		var counts []*redis.IntCmd
		streams, sets := client.Keys(ctx, "*:out:*").Val(), client.Keys(ctx, "*:delayed:*").Val()
		if _, err := client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
			for _, key := range streams {
				counts = append(counts, tx.XLen(ctx, key))
			}
			for _, key := range sets {
				counts = append(counts, tx.ZCard(ctx, key))
			}
			return nil
		}); err != nil || len(streams) == 0 {
			return false
		}
		return !slices.ContainsFunc(counts, func(c *redis.IntCmd) bool { return c.Val() > 0 })
	}
	for range 30 {
		r.arrive("everything settled", settled)
		shades := client.Keys(ctx, "*:u66:shade").Val()
		if len(shades) != 1 {
			r.t.Fatalf("%d shades", len(shades))
		}
		if !client.HExists(ctx, shades[0], "owed").Val() {
			return
		}
		r.publish(r.fleet.at(0))
	}
	r.t.Error("something always waits for the iPhone's next push")
}
