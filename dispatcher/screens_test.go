package dispatcher

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

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// dismissing has devices told what was read.
func dismissing(o *Options) {
	store := o.Inbox.Options()
	store.Dismissals = outbox.Dismissals(o.Partitions)
	o.Inbox = inbox.New(store)
}

// phoneOf returns a phone after everything that was pushed to it.
func phoneOf(box *sandbox.Sandbox, token string) *sandbox.Phone {
	var phone sandbox.Phone
	for _, p := range pushesTo(box, token) {
		phone.Play(&p)
	}
	return &phone
}

// unreadOnScreens returns what should be on each of a user's screens: the ids of unread
// notifications, and the tags of conversations with unread messages.
func (w *world) unreadOnScreens(user int64, partners ...int64) []string {
	w.t.Helper()
	notes, err := w.opts.Inbox.Notifications.List(context.Background(), user, []string{"dompet", "announcement"}, 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	var want []string
	for _, n := range notes {
		if !n.Read {
			want = append(want, n.ID)
		}
	}
	for _, partner := range partners {
		c := model.ConversationID(user, partner)
		newest, err := w.opts.Inbox.Conversations.NewestUnread(context.Background(), user, c)
		if err != nil {
			w.t.Fatal(err)
		}
		if newest != "" {
			want = append(want, model.ConversationSubject(c))
		}
	}
	slices.Sort(want)
	return want
}

// onScreen returns what is on a phone's screen in the form of unreadOnScreens.
func onScreen(phone *sandbox.Phone) (shown []string) {
	for _, s := range phone.Shade() {
		if strings.HasPrefix(s.Tag, "message:") {
			shown = append(shown, s.Tag)
		} else {
			shown = append(shown, s.ID)
		}
	}
	slices.Sort(shown)
	return shown
}

func (w *world) unreadsOf(user int64) model.Unreads {
	w.t.Helper()
	u, err := w.opts.Inbox.Counters.Unreads(context.Background(), user)
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

// A run of reads is told once to each phone, which takes down what was read. iPhones get the
// new badge at once.
func TestDismissal(t *testing.T) {
	t.Parallel()
	w, box := newSandboxWorld(t, dismissing)
	w.register(66, devices.Android, "system")
	w.registerStyled(66, "app", devices.StyleData)
	w.register(66, devices.IOS, "iPhone")
	first := w.startGateway()
	for _, name := range []string{"a", "b", "c"} {
		w.tell(66, name)
		w.told(66, name, 3)
	}
	w.settled()
	first.end() // a dismissal that was due between the reads would be told by itself
	ctx := context.Background()
	notes, err := w.opts.Inbox.Notifications.List(ctx, 66, []string{"dompet", "announcement"}, 0, 100)
	if err != nil || len(notes) != 6 {
		t.Fatal(len(notes), err)
	}
	for _, n := range notes[:4] {
		if _, err := w.opts.Inbox.Notifications.MarkRead(ctx, 66, n.ID); err != nil {
			t.Fatal(err)
		}
	}
	w.run()
	want := w.unreadOnScreens(66)
	for _, token := range []string{"system", "app", "iPhone"} {
		w.eventually("what is unread on "+token, func() bool { return slices.Equal(onScreen(phoneOf(box, token)), want) })
	}
	w.eventually("the badge", func() bool { return phoneOf(box, "iPhone").Badge() == 2 })
	w.settled()
	for token, pushes := range map[string]int{"system": 7, "app": 7, "iPhone": 8} { // a badge and a background push
		if sent := pushesTo(box, token); len(sent) != pushes {
			t.Errorf("%s got %d pushes, want %d: %s", token, len(sent), pushes, sent[len(sent)-1].Body)
		}
	}
	for _, p := range pushesTo(box, "system")[6:] {
		if body := string(p.Body); !strings.Contains(body, `"priority":"normal"`) || !strings.Contains(body, `"collapse_key":"dismiss"`) || strings.Contains(body, `"notification":`) {
			t.Errorf("Android was told %s", body)
		}
	}
	for _, p := range pushesTo(box, "iPhone")[6:] {
		kind, body := p.Header.Get("Apns-Push-Type"), string(p.Body)
		if kind == "alert" && body != `{"aps":{"badge":2}}` || kind == "background" && !strings.Contains(body, `"read":[`) || p.Header.Get("Apns-Priority") != "5" {
			t.Errorf("the iPhone was told %s %s", kind, body)
		}
	}
	if out, delayed, dead := w.left(); out+delayed+dead != 0 {
		t.Errorf("%d, %d and %d entries are left", out, delayed, dead)
	}
}

// A dismissal is due a second after the first read of a run: with the queue looked at four
// times a second, devices are told within two.
func TestDismissalIsDueInASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dismissing)
	ctx := context.Background()
	w.register(66, devices.Android, "A")
	stop := w.run()
	w.tell(66, "a")
	w.settled()
	stop()
	notes, err := w.opts.Inbox.Notifications.List(ctx, 66, []string{"dompet", "announcement"}, 0, 100)
	if err != nil || len(notes) != 2 {
		t.Fatal(len(notes), err)
	}
	var times []int64 // before and after the first read
	for i, n := range notes {
		times = append(times, w.rdb.Time(ctx).Val().UnixMilli())
		if _, err := w.opts.Inbox.Notifications.MarkRead(ctx, 66, n.ID); err != nil {
			t.Fatal(err)
		}
		delayed, entry := outbox.Dismissals(w.opts.Partitions)(66)
		due := int64(w.rdb.ZScore(ctx, delayed, entry).Val())
		if i == 0 {
			times = append(times, w.rdb.Time(ctx).Val().UnixMilli())
		}
		if due < times[0]+1000 || due > times[1]+1000 {
			t.Errorf("read between %d and %d, the dismissal is due at %d", times[0], times[1], due)
		}
	}
}

// A dismissal goes to an installation id as other pushes do: as a registration token it would
// be called dead.
func TestDismissalToAnInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dismissing)
	ctx := context.Background()
	d := devices.Device{Platform: devices.Android, Token: "cdefghijklmnopqrstuvwx", FID: true}
	if _, err := w.opts.Devices.Register(ctx, 66, d, nil); err != nil {
		t.Fatal(err)
	}
	w.run()
	w.tell(66, "a")
	w.told(66, "a", 1)
	w.settled()
	if err := w.opts.Inbox.Notifications.MarkAllRead(ctx, 66); err != nil {
		t.Fatal(err)
	}
	for _, sent := range w.android.wait(t, "the dismissal", count(3)) {
		if sent.Token != d.Token || !sent.FID {
			t.Errorf("%s: to %q, installation id %t", sent.Type, sent.Token, sent.FID)
		}
	}
}

// What a service takes back leaves the screens, too.
func TestRetractedFromScreens(t *testing.T) {
	t.Parallel()
	w, box := newSandboxWorld(t, dismissing)
	w.register(66, devices.Android, "system")
	w.register(66, devices.IOS, "iPhone")
	w.run()
	w.tell(66, "a")
	w.told(66, "a", 2)
	w.settled()
	if err := w.Retract(context.Background(), "service:test", "a-dompet-66"); err != nil {
		t.Fatal(err)
	}
	want := w.unreadOnScreens(66)
	if len(want) != 1 {
		t.Fatalf("%d unread", len(want))
	}
	for _, token := range []string{"system", "iPhone"} {
		w.eventually("what is left on "+token, func() bool { return slices.Equal(onScreen(phoneOf(box, token)), want) })
	}
	w.eventually("the badge", func() bool { return phoneOf(box, "iPhone").Badge() == 1 })
}

// An iPhone gets two background pushes an hour. What was read after them is told with the
// next push that it shows, and its badge is right meanwhile.
func TestBackgroundBudget(t *testing.T) {
	t.Parallel()
	w, box := newSandboxWorld(t, dismissing)
	w.register(66, devices.IOS, "iPhone")
	w.run()
	ctx := context.Background()
	for i, name := range []string{"a", "b", "c"} {
		w.tell(66, name)
		w.told(66, name, 1)
		w.settled()
		if err := w.opts.Inbox.Notifications.MarkAllRead(ctx, 66); err != nil {
			t.Fatal(err)
		}
		w.eventually("the badge", func() bool { return phoneOf(box, "iPhone").Badge() == 0 })
		w.settled()
		want := 2 * (i / 2)
		if shown := len(phoneOf(box, "iPhone").Shade()); shown != want {
			t.Errorf("%s: %d on the screen, want %d", name, shown, want)
		}
	}
	w.tell(66, "d")
	w.told(66, "d", 1)
	if got, want := onScreen(phoneOf(box, "iPhone")), w.unreadOnScreens(66); !slices.Equal(got, want) {
		t.Errorf("on the screen %v, unread %v", got, want)
	}
	backgrounds := slices.DeleteFunc(pushesTo(box, "iPhone"), func(p sandbox.Push) bool { return p.Header.Get("Apns-Push-Type") != "background" })
	if len(backgrounds) != 2 {
		t.Errorf("%d background pushes", len(backgrounds))
	}
}

// Nothing waits when nobody was pushed.
func TestNothingToDismiss(t *testing.T) {
	t.Parallel()
	noDismissal(t, newWorld(t, dismissing))
}

// Nothing is kept, or waits, when dismissals are off.
func TestDismissalsOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(66, devices.Android, "A")
	noDismissal(t, w)
}

func noDismissal(t *testing.T, w *world) {
	t.Helper()
	ctx := context.Background()
	w.run()
	w.publish(promo)
	w.settled()
	if err := w.opts.Inbox.Notifications.MarkAllRead(ctx, 66); err != nil {
		t.Fatal(err)
	}
	out, delayed, _ := w.left()
	if known := w.rdb.Exists(ctx, w.opts.Partitions.UserKey(66, "shade")).Val(); out+delayed != 0 || known != 0 {
		t.Errorf("%d and %d entries, %d shades", out, delayed, known)
	}
}

// A shade of another type holds up no push.
func TestDamagedShade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dismissing)
	w.register(66, devices.IOS, "iPhone")
	ctx, shade := context.Background(), w.opts.Partitions.UserKey(66, "shade")
	w.rdb.RPush(ctx, shade, "planted")
	w.run()
	w.publish(promo)
	w.status("promo-1", is("accepted"))
	if err := w.opts.Inbox.Notifications.MarkAllRead(ctx, 66); err != nil {
		t.Fatal(err)
	}
	w.settled()
	if planted := w.rdb.LRange(ctx, shade, 0, -1).Val(); !slices.Equal(planted, []string{"planted"}) {
		t.Errorf("the key holds %v", planted)
	}
	w.rdb.Del(ctx, shade)
}

// A dismissal whose user's data cannot be read is given up, and holds up nothing.
func TestDismissalOfDamagedData(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dismissing)
	ctx := context.Background()
	w.publish(promo) // without a device, so that it is not pushed
	w.register(66, devices.Android, "A")
	w.rdb.HSet(ctx, w.opts.Partitions.UserKey(66, "shade"), "device tag", "id")
	if err := w.opts.Inbox.Notifications.MarkAllRead(ctx, 66); err != nil {
		t.Fatal(err)
	}
	unread := w.opts.Partitions.UserKey(66, "unread")
	w.rdb.Del(ctx, unread)
	w.rdb.RPush(ctx, unread, "planted")
	w.run()
	w.eventually("the last attempt", func() bool {
		w.makeAllDue(66)
		out, delayed, _ := w.left()
		return out+delayed == 0
	})
	w.rdb.Del(ctx, unread)
}

// Erasing a user erases what is known of screens.
func TestEraseShade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dismissing)
	w.register(66, devices.Android, "A")
	w.run()
	w.publish(promo)
	w.settled()
	ctx, shade := context.Background(), w.opts.Partitions.UserKey(66, "shade")
	if w.rdb.Exists(ctx, shade).Val() != 1 {
		t.Error("nothing is known of the screen")
	}
	if err := w.Janitor.Erase(ctx, 66); err != nil {
		t.Fatal(err)
	}
	if w.rdb.Exists(ctx, shade).Val() != 0 {
		t.Error("erasing leaves what is known of screens")
	}
}

// A dismissal that fails is retried, and newer ones do not pile up beside it.
func TestDismissalIsRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t, dismissing)
	w.android.set(func(d *push.Delivery) push.Result {
		if d.Type == push.TypeDismiss {
			return push.Result{Outcome: push.Later, Reason: "UNAVAILABLE", Backoff: time.Hour}
		}
		return push.Result{Outcome: push.Accepted}
	}, push.Result{})
	w.register(66, devices.Android, "A")
	w.run()
	ctx := context.Background()
	for i := range 3 {
		w.publish(fmt.Sprintf(`{"id":"e%d","type":"announcement","receiver_id":66,"title":"t","message":"m","details":{}}`, i))
		w.android.wait(t, "pushes", count(1+2*i))
		w.settledBut(min(i, 1))
		if err := w.opts.Inbox.Notifications.MarkAllRead(ctx, 66); err != nil {
			t.Fatal(err)
		}
		w.android.wait(t, "dismissals", count(2+2*i))
		w.atRest(66)
	}
	if _, delayed, dead := w.left(); delayed != 1 || dead != 0 {
		t.Errorf("%d dismissals wait, %d are dead", delayed, dead)
	}
	w.android.set(nil, push.Result{})
	w.makeAllDue(66)
	w.settled()
	last := w.android.pushes()[6]
	if data := string(dataJSON(last.Data)); strings.Count(data, `"tag"`) != 3 {
		t.Errorf("the retry says %s", data)
	}
}

// settledBut waits until all but n entries, which are delayed, are settled.
func (w *world) settledBut(n int) {
	w.t.Helper()
	w.eventually("pushes settled", func() bool {
		out, delayed, _ := w.left()
		return out == 0 && delayed == n
	})
}

// A gateway is a dispatcher that can crash.
type gateway struct {
	client redis.UniversalClient
	stop   context.CancelFunc
	ended  sync.WaitGroup
}

// startGateway runs another dispatcher on the same Redis and senders.
func (w *world) startGateway() *gateway {
	w.t.Helper()
	g := &gateway{client: redis.NewClient(w.rdb.(*redis.Client).Options())}
	opts := w.opts.withMetrics()
	opts.Redis = g.client
	d := New(opts)
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.ended.Go(func() { d.Run(ctx) })
	w.t.Cleanup(func() { g.end(); g.client.Close() })
	return g
}

// end stops a gateway as a shutdown does.
func (g *gateway) end() {
	g.stop()
	g.ended.Wait()
}

// crash has a gateway lose Redis at once and for ever: what it holds is taken over by others.
func (g *gateway) crash() {
	g.client.Close()
	g.stop()
}

// Whatever is read, in whichever order, and while gateways crash: soon after quiet each screen
// shows what is unread, and the badge counts it.
func TestScreensAgree(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TEST_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w, box := newSandboxWorld(t, dismissing, soon)
	const user, partner = 66, 15
	ctx := context.Background()
	for _, u := range []int64{user, partner} {
		if err := w.opts.Inbox.Profiles.Set(ctx, u, inbox.Profile{Name: new(string)}); err != nil {
			t.Fatal(err)
		}
	}
	w.register(user, devices.Android, "system")
	w.registerStyled(user, "app", devices.StyleData)
	w.register(user, devices.IOS, "iPhone")
	if _, err := w.opts.Devices.Register(ctx, user, devices.Device{Platform: devices.IOS, Provider: devices.FCM, Token: "on:Firebase"}, nil); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g, told := w.startGateway(), 0
	for step := range 60 {
		switch random.IntN(10) {
		case 0, 1, 2:
			if told++; told <= 24 { // so that the shade has room for all
				w.tell(user, fmt.Sprint(step))
			}
		case 3, 4:
			w.send(partner, user, "halo")
		case 5, 6:
			notes, err := w.opts.Inbox.Notifications.List(ctx, user, []string{"dompet", "announcement"}, 0, 100)
			must(err)
			if len(notes) > 0 {
				_, err = w.opts.Inbox.Notifications.MarkRead(ctx, user, notes[random.IntN(len(notes))].ID)
				must(err)
			}
		case 7:
			if random.IntN(4) == 0 {
				must(w.opts.Inbox.Notifications.MarkAllRead(ctx, user))
			} else if c := model.ConversationID(user, partner); w.unreadsOf(user).Messages > 0 {
				must(w.Chat.ReadConversation(ctx, user, c, ""))
			}
		case 8:
			w.eventually("no queued push", func() bool { out, _, _ := w.left(); return out == 0 })
		case 9:
			g.crash()
			g = w.startGateway()
		}
	}
	w.settled()
	// The iPhone may have had its background pushes: then each push that it shows brings a part
	// of the rest along.
	shade := w.opts.Partitions.UserKey(user, "shade")
	for i := range 30 {
		w.tell(user, fmt.Sprint("last", i))
		w.settled()
		if !w.rdb.HExists(ctx, shade, "owed").Val() {
			break
		}
	}
	for _, token := range []string{"system", "app", "iPhone", "on:Firebase"} {
		var got, want []string
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s shows %v, unread are %v", token, got, want)
			}
		})
		w.eventually("what is unread on "+token, func() bool {
			got, want = onScreen(phoneOf(box, token)), w.unreadOnScreens(user, partner)
			return slices.Equal(got, want)
		})
	}
	for _, token := range []string{"iPhone", "on:Firebase"} {
		w.eventually("the badge of "+token, func() bool { return phoneOf(box, token).Badge() == w.unreadsOf(user).Badge() })
	}
}

// A process that died may have pushed a message that was read since. Whoever takes it over
// does not push it again, and has phones take it down.
func TestReadBeforeTakeOver(t *testing.T) {
	t.Parallel()
	w := newChat(t, dismissing, soon)
	w.register(66, devices.Android, "A")
	w.register(66, devices.IOS, "B")
	id := w.send(15, 66, "halo")
	ctx := context.Background()
	if err := w.Outbox.CreateGroups(ctx, push.Chat); err != nil {
		t.Fatal(err)
	}
	if messages, err := New(w.opts.withMetrics()).Outbox.Read(ctx, push.Chat, 10); err != nil || len(messages) != 1 {
		t.Fatalf("the process that dies read %v, %v", messages, err)
	}
	if err := w.Chat.ReadConversation(ctx, 66, model.ConversationID(66, 15), ""); err != nil {
		t.Fatal(err)
	}
	w.run()
	for _, d := range slices.Concat(w.android.wait(t, "dismissal", count(1)), w.ios.wait(t, "badge and dismissal", count(2))) {
		if d.Type != push.TypeDismiss || !d.Silent() || !d.BadgeAlone && !strings.Contains(string(dataJSON(d.Data)), id) {
			t.Errorf("pushed %s %s", d.Type, dataJSON(d.Data))
		}
	}
	w.settled()
}
