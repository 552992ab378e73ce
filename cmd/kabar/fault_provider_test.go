package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// The users of a trial of providers' faults, besides those of the load: quiet ones have no
// sockets and chat by push, victims own the devices that have a fault.
const (
	firstQuiet, quiet = 501, 8
	firstVictim       = 601
	victimTokens      = "victim" // the beginning of all victims' tokens
)

// A healthy is what happens to devices without a fault in a trial of providers' faults.
type healthy struct {
	meter   *meter
	long    bool
	victims int // users that were made

	// How long pushes took without a fault, to the platform of a fault of some devices, and
	// to the other platform meanwhile.
	before, during, beside lateness
}

// fewProviderFaults is how many faults a short trial injects.
const fewProviderFaults = 3

// platforms are the platforms of the services.
var platforms = map[string]string{sandbox.PlatformFCM: "android", sandbox.PlatformAPNs: "ios"}

// FCM and APNs misbehave for some devices: the pushes of all others arrive as if nothing
// were wrong. They misbehave for everyone: nothing is lost, no device is forgotten, and the
// other service is not affected.
func TestFaultsOfProviders(t *testing.T) {
	t.Parallel()
	long := faultTime(t, 5)
	tr := newTrial(t, "--appendfsync", "everysec")
	tr.healthy = &healthy{
		meter: newMeter(), long: long > 0, before: make(lateness), during: make(lateness), beside: make(lateness),
	}
	tr.checker.meter = tr.healthy.meter
	credentials, err := tr.sandbox.FCM.WriteCredentials(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// No gateway fails here. With the other trials' short lease an attempt may wait for a
	// connection for a quarter of a second only, which a busy machine exceeds.
	tr.vars = append(tr.vars, "KABAR_FCM_CREDENTIALS_FILE="+credentials, "KABAR_PUSH_LEASE=16s")
	client := redis.NewClient(&redis.Options{Addr: tr.redis.Addr()})
	t.Cleanup(func() { client.Close() })
	tr.rdb = client
	tr.begin(func() {
		tr.chat()
		faults := tr.choose(long, providerFaults(long > 0 || os.Getenv(faultVariable) != ""))
		if long == 0 {
			faults = faults[:min(fewProviderFaults, len(faults))]
		}
		for i, f := range faults {
			if i > 0 && long > 0 && time.Since(tr.begun) > long {
				break
			}
			tr.suffer(&f)
		}
	})
	tr.compare()
}

// aboutAll are answers that concern everyone even when a single device gets them: they
// refuse our credentials, or name the quota of the whole project.
var aboutAll = []string{"unauthenticated", "expired-provider-token", "invalid-provider-token", "quota-project"}

// providerFaults are all faults of the sandbox: those that can be limited to some devices
// for two users; and, unless the trial is short, the others and some more for everyone:
// after these, pushes wait for their retries, for a minute at most.
func providerFaults(long bool) (table []fault) {
	everyone := []string{
		"hang", "reset", "unavailable", "internal", "html-502", "html", "redirect", "not-found", "forbidden",
		"third-party-auth", "empty-200", "unauthenticated", "expired-provider-token", "invalid-provider-token", "bad-topic", "shutdown",
		"unregistered", "gone", "quota-project",
	}
	for _, f := range sandbox.Faults() {
		if f.Devices && !slices.Contains(aboutAll, f.Name) {
			table = append(table, fault{name: f.Name + " of two users", inject: func(tr *trial) func() { return tr.victimise(f) }})
		}
		if long && (!f.Devices || slices.Contains(everyone, f.Name)) {
			table = append(table, fault{name: f.Name + " for everyone", inject: func(tr *trial) func() { return tr.harmAll(f) }})
		}
	}
	return append(table, fault{name: "made-up tokens of one user", inject: func(tr *trial) func() { return tr.flood() }})
}

// chat has the quiet users send messages to each other until the load stops.
func (tr *trial) chat() {
	l, p := tr.load, tr.fleet.at(0)
	for user := firstQuiet; user < firstQuiet+quiet; user++ {
		p.user(user)
		l.own(p, user, "android")
		l.own(p, user, "ios")
	}
	l.working.Go(func() {
		r := l.random(300)
		for i := 0; !l.stopped(); i++ {
			from, to := firstQuiet+i%quiet, firstQuiet+(i+1+i/quiet%(quiet-1))%quiet
			text := chatText(from, i)
			for _, platform := range platforms {
				tr.healthy.meter.expect(stableToken(to, platform), text, push.Chat, time.Now())
			}
			for tr.t.Context().Err() == nil {
				if status, _, _ := l.ask(tr.t.Context(), r, "POST", "/v2/messages.json", fmt.Sprint(from, ":t"), asJSON, messageBody(text, to)); status == http.StatusOK {
					break
				}
				l.pause(tr.t.Context(), retryPause)
			}
			l.pause(tr.t.Context(), 80*time.Millisecond)
		}
	})
}

func messageBody(text string, to int) string {
	return fmt.Sprintf(`{"instant_message":{"receiver_id":%d,"category":0,"body_bb":%q,"client_id":%q}}`, to, text, text)
}

var chatTexts = regexp.MustCompile(`chat-\d+-\d+-`)

// message records the push of a chat message between quiet users.
func (m *meter) message(p *sandbox.Push) {
	if text := chatTexts.Find(p.Body); m != nil && text != nil {
		m.arrived(p.Token, string(text), p.At)
	}
}

// slowing are answers that ask to send less, and do not say that they mean the device alone.
var slowing = []string{"quota", "retry-after-hour", "too-many-requests"}

// calm waits until no earlier victim counts as asked to slow down: with those of two faults
// there would be enough users to pause a lane for everyone.
func (tr *trial) calm() {
	tr.t.Helper()
	tr.arrive("earlier victims do not count any more", func() bool {
		keys, err := tr.rdb.Keys(tr.t.Context(), "kabar:*:slowed").Result() // each expires 30 s after the newest answer
		return err == nil && len(keys) == 0
	})
}

// victimise has two users, with a device each, suffer from a fault while they get pushes in
// all lanes.
func (tr *trial) victimise(f sandbox.Fault) (heal func()) {
	if slices.Contains(slowing, f.Name) {
		tr.calm()
	}
	service := tr.service(f)
	platform := platforms[service]
	users := []int{tr.newVictim(), tr.newVictim()}
	for _, user := range users {
		tr.fleet.at(0).device(user, platform, victimToken(user, 0))
	}
	during := tr.startPhase(f.Name + " of two users")
	waits := tr.allWaits()
	remove := tr.inject(f.Name, sandbox.FaultOptions{Service: service, Tokens: func(token string) bool {
		return slices.ContainsFunc(users, func(user int) bool { return token == victimToken(user, 0) })
	}})
	stop := tr.pushTo(users)
	return func() {
		stop()
		tr.judgePhase(during, waits, platform)
		remove()
		tr.erase(users)
	}
}

// flood has one user register one made-up token after the other, which get pushes.
func (tr *trial) flood() (heal func()) {
	user := tr.newVictim()
	during := tr.startPhase("made-up tokens of one user")
	waits := tr.allWaits()
	bad := sandbox.FaultOptions{Tokens: func(token string) bool { return strings.HasPrefix(token, victimTokens) }}
	removeAndroid, removeIOS := tr.inject("invalid-registration", bad), tr.inject("bad-device-token", bad)
	stopPushes := tr.pushTo([]int{user})
	var registering sync.WaitGroup
	var over atomic.Bool
	r := tr.load.random(user * 1000)
	registering.Go(func() {
		for n := 0; n < 300 && !over.Load(); n++ {
			platform, field := "ios", "token"
			if n%3 == 0 {
				platform, field = "android", "reg_id"
			}
			tr.load.ask(tr.t.Context(), r, "POST", "/v2/notifications/"+platform+".json", fmt.Sprint(user, ":t"), asForm, field+"="+victimToken(user, n))
		}
	})
	return func() {
		over.Store(true)
		registering.Wait()
		stopPushes()
		tr.judgePhase(during, waits, "android", "ios")
		removeAndroid()
		removeIOS()
		tr.erase([]int{user})
	}
}

// harmAll has a service misbehave for everyone. The other one's pushes arrive meanwhile, and
// this one's after the end.
func (tr *trial) harmAll(f sandbox.Fault) (heal func()) {
	service := tr.service(f)
	other := sandbox.PlatformFCM
	if service == other {
		other = sandbox.PlatformAPNs
	}
	during := tr.startPhase(f.Name + " for everyone")
	waits := tr.waits(platforms[other])
	remove := tr.inject(f.Name, sandbox.FaultOptions{Service: service})
	return func() {
		recovery := tr.healthy.meter.begin("recovery from " + during.name)
		tr.arrives(during, platforms[other])
		if n := tr.waits(platforms[other]) - waits; n != 0 {
			tr.t.Errorf("%s: %v pushes to %s waited for a circuit or a pause", during.name, n, platforms[other])
		}
		remove()
		tr.arrives(during, platforms[service])
		tr.healthy.meter.begin("after " + during.name)
		tr.arrives(recovery, "android", "ios")
		late, superseded := tr.healthy.meter.taken(during)
		tr.t.Logf("%s at %s; messages that were overtaken %v\n%s", during.name, service, superseded, late)
	}
}

// service chooses one of the services that can have the fault.
func (tr *trial) service(f sandbox.Fault) string {
	services := f.Services()
	return services[tr.rand.IntN(len(services))]
}

func (tr *trial) inject(name string, o sandbox.FaultOptions) (remove func()) {
	tr.t.Helper()
	remove, err := tr.sandbox.Inject(name, o)
	if err != nil {
		tr.t.Fatal(err)
	}
	return remove
}

func victimToken(user, n int) string { return fmt.Sprintf("%s%dx%d", victimTokens, user, n) }

// newVictim makes a user of a victim.
func (tr *trial) newVictim() int {
	user := firstVictim + tr.healthy.victims
	tr.healthy.victims++
	tr.fleet.at(0).user(user)
	return user
}

// pushTo publishes events and messages for victims, until stop is called.
func (tr *trial) pushTo(users []int) (stop func()) {
	ctx, cancel := context.WithCancel(tr.t.Context())
	var pushing sync.WaitGroup
	r := tr.load.random(users[0])
	pushing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			user := users[i%len(users)]
			id := fmt.Sprintf("v%d.%d", user, i)
			switch i % 3 {
			case 0:
				tr.load.ask(ctx, r, "POST", "/v2/events.json", serviceKey, asJSON, eventBody(id, user))
			case 1:
				tr.load.ask(ctx, r, "POST", "/v2/events.json", serviceKey, asJSON, eventBody(id+"@"+fmt.Sprint(user), user))
			case 2:
				from := firstQuiet + i%quiet
				tr.load.ask(ctx, r, "POST", "/v2/messages.json", fmt.Sprint(from, ":t"), asJSON, messageBody(id, user))
			}
			tr.load.pause(ctx, 50*time.Millisecond)
		}
	})
	return func() { cancel(); pushing.Wait() }
}

// erase erases victims with everything that waits for them.
func (tr *trial) erase(users []int) {
	tr.t.Helper()
	for _, user := range users {
		if status, answer := tr.fleet.at(0).call("DELETE", fmt.Sprintf("/v2/users/%d.json", user), serviceKey, "", ""); status != http.StatusOK {
			tr.t.Fatal(status, answer)
		}
	}
}

// startPhase ends the phase without a fault, which lasts for two seconds at least in a long
// trial, and begins the one with it.
func (tr *trial) startPhase(name string) *phase {
	h := tr.healthy
	if h.long {
		tr.load.pause(tr.t.Context(), 2*time.Second)
	}
	h.meter.mu.Lock()
	before := h.meter.phase
	h.meter.mu.Unlock()
	during := h.meter.begin(name)
	tr.arrives(before, "android", "ios")
	late, _ := h.meter.taken(before)
	h.before.add(late)
	return during
}

// arrives waits until all pushes of a phase have arrived on the platforms.
func (tr *trial) arrives(p *phase, on ...string) {
	tr.t.Helper()
	deadline := time.Now().Add(waitTimeout)
	for tr.healthy.meter.missing(p, on...) > 0 {
		if time.Now().After(deadline) {
			tr.t.Fatalf("%s: %d pushes to %v are missing, such as %v", p.name, tr.healthy.meter.missing(p, on...), on, tr.healthy.meter.examples(p))
		}
		tr.load.pause(tr.t.Context(), 20*time.Millisecond)
	}
}

// waits returns how many pushes to a platform have waited for a circuit or a pausing lane.
func (tr *trial) waits(platform string) (n float64) {
	tr.t.Helper()
	for i := range tr.fleet.len() {
		for _, reason := range []push.Reason{push.ReasonCircuitOpen, push.ReasonSlowedDown} {
			n += tr.fleet.at(i).metric("kabar_push_retries_total", "platform", platform, "reason", string(reason))
		}
	}
	return n
}

// allWaits returns waits of all platforms.
func (tr *trial) allWaits() map[string]float64 {
	return map[string]float64{"android": tr.waits("android"), "ios": tr.waits("ios")}
}

// judgePhase ends the phase of a fault of some devices, before the fault ends. All other
// pushes arrive, and none has waited for a circuit or a pausing lane. affected are the
// platforms of the devices.
func (tr *trial) judgePhase(during *phase, waits map[string]float64, affected ...string) {
	tr.t.Helper()
	h := tr.healthy
	h.meter.begin("after " + during.name)
	tr.arrives(during, "android", "ios")
	for platform, before := range waits {
		if n := tr.waits(platform) - before; n != 0 {
			tr.t.Errorf("%s: %v pushes to %s waited for a circuit or a pausing lane", during.name, n, platform)
		}
	}
	late, superseded := h.meter.taken(during)
	for kind, took := range late {
		to := h.beside
		if slices.Contains(affected, kind.platform) {
			to = h.during
		}
		to[kind] = append(to[kind], took...)
	}
	for platform, n := range superseded {
		if n > 0 {
			tr.t.Errorf("%s: %d messages to %s waited until newer ones overtook them", during.name, n, platform)
		}
	}
	tr.t.Logf("%s\n%s", during.name, late)
}

// Pushes to healthy devices may take lateBy longer than without a fault. Their 99th
// percentile may be ratio times as long, of what is long enough to be measured.
const (
	lateBy    = 2 * time.Second
	ratio     = 1.2
	tooLittle = 25 * time.Millisecond
	enough    = 1000 // pushes for which a 99th percentile means something
)

// compare compares how long pushes to healthy devices took during faults of some devices
// with how long they took between the faults, and with those to the other platform at the
// same time: other work on the machine delays these, too. It prints all, and judges only
// long trials: a few seconds show nothing.
func (tr *trial) compare() {
	h := tr.healthy
	tr.t.Logf("without a fault\n%sduring faults of some devices of the platform\n%sduring faults of some devices of the other platform\n%s", h.before, h.during, h.beside)
	if !h.long {
		return
	}
	for _, k := range h.during.kinds() {
		other := pushKind{"ios", k.lane}
		if k.platform == other.platform {
			other.platform = "android"
		}
		_, during, most := h.during.quantiles(k)
		_, before, mostBefore := h.before.quantiles(k)
		_, beside, mostBeside := h.beside.quantiles(other)
		if usual := max(mostBefore, mostBeside); most > usual+lateBy {
			tr.t.Errorf("a push to %s in lane %s took %s, without a fault %s at most", k.platform, k.lane, most, usual)
		}
		if min(len(h.during[k]), len(h.before[k])) < enough {
			continue
		}
		usual := max(before, beside)
		if limit := max(time.Duration(ratio*float64(usual)), usual+tooLittle); during > limit {
			tr.t.Errorf("pushes to %s in lane %s: p99 %s during faults, %s without", k.platform, k.lane, during, usual)
		}
	}
}
