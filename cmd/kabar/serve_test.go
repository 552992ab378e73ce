package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// A service publishes an event. The user's Android phone and iPhone get it through the real
// SDKs and protocols, and the service can ask for the result.
func TestPublishToPush(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	p.user(66)
	p.device(66, "android", "ASD223SDA")
	p.device(66, "ios", "RAG2314EN")
	raw, err := os.ReadFile(filepath.Join("..", "..", "dispatcher", "testdata", "samples", "transaction.json"))
	if err != nil {
		t.Fatal(err)
	}
	p.publish(string(raw[:len(raw)-2]) + `,"id":"trx-52001-paid"}`)
	s.arrive("both pushes", func() bool { return len(s.pushesTo("ASD223SDA")) == 2 && len(s.pushesTo("RAG2314EN")) == 2 })

	android, ios := s.pushesTo("ASD223SDA")[1], s.pushesTo("RAG2314EN")[1]
	var sample struct{ Details map[string]any }
	var fcm struct {
		Data    map[string]string
		Android struct {
			Priority     string
			CollapseKey  *string `json:"collapse_key"`
			Notification struct{ Tag, Body string }
		}
	}
	var apns struct {
		APS struct {
			Alert struct{ Body string }
			Badge int
		}
		Data struct{ Details map[string]any }
	}
	for raw, into := range map[string]any{string(raw): &sample, string(android.Body): &fcm, string(ios.Body): &apns} {
		if err := json.Unmarshal([]byte(raw), into); err != nil {
			t.Fatal(err)
		}
	}
	if fcm.Data["type"] != "transaction" || fcm.Data["receiver_id"] != "66" || fcm.Android.Priority != "high" ||
		fcm.Android.Notification.Tag != "transaction:52001" || fcm.Android.CollapseKey != nil {
		t.Errorf("FCM got %s", android.Body)
	}
	var details map[string]any
	if err := json.Unmarshal([]byte(fcm.Data["details"]), &details); err != nil {
		t.Fatal(err)
	}
	for _, got := range []map[string]any{details, apns.Data.Details} {
		items, _ := got["unread_items"].(map[string]any)
		if items["transactions_need_action_as_seller"] != 1.0 || items["unread_notifications"] != 1.0 {
			t.Errorf("unread_items %v", items)
		}
	}
	if apns.APS.Alert.Body != "Transaksi baru dari Liem Lie Wie" || apns.APS.Badge != 1 {
		t.Errorf("APNs got %s", ios.Body)
	}
	for _, header := range []string{"Apns-Id", "Apns-Push-Type", "Apns-Priority", "Apns-Expiration", "Apns-Topic", "Apns-Collapse-Id"} {
		if ios.Header.Get(header) == "" {
			t.Errorf("no %s header", header)
		}
	}
	s.arrive("the status says so", func() bool {
		_, status := p.call("GET", "/v2/events/trx-52001-paid.json", serviceKey, "", "")
		text, _ := json.Marshal(status)
		return strings.Count(string(text), `"outcome":"accepted"`) == 2
	})
	if logs := p.logs(); strings.Contains(logs, "ASD223SDA") || strings.Contains(logs, "Transaksi") || strings.Contains(logs, serviceKey) {
		t.Errorf("tokens, keys or texts in the log:\n%s", logs)
	}
}

// A process is killed (kill -9) after it has accepted events and before the pushes. Another
// process delivers the pushes, and the inbox holds every accepted event (G1).
func TestKillBetweenAcceptanceAndPush(t *testing.T) {
	s := newSite(t)
	s.shortLease()
	first := s.serve()
	first.user(66)
	first.device(66, "ios", "A")
	s.sandbox.APNs.Hang(true) // the provider receives pushes and never answers
	const events = 300
	for i := range events {
		first.publish(dompetEvent(fmt.Sprint("e", i), 66))
	}
	s.arrive("pushes under way", func() bool { return s.sandbox.APNs.Pending() > 0 })
	first.kill()
	s.sandbox.APNs.Hang(false)
	second := s.serve()
	s.arrive("everything delivered", func() bool { return len(s.count("A")) == events })
	_, list := second.call("GET", "/v2/notifications/list.json?type=dompet&per_page=100&page=3", "66:t", "", "")
	if n := len(list["data"].([]any)); n != 100 {
		t.Errorf("the inbox' third hundred has %d", n)
	}
	if _, unreads := second.call("GET", "/v2/notifications/unreads.json", "66:t", "", ""); unreads["unread_notifications"] != float64(events) {
		t.Errorf("unreads %v", unreads)
	}
}

// Redis itself is killed. With appendfsync always, nothing that was accepted is lost (G1).
func TestKillRedis(t *testing.T) {
	s := newSite(t, "--appendfsync", "always")
	p := s.serve()
	p.user(66)
	p.device(66, "ios", "A")
	var accepted sync.Map
	var failed atomic.Int32
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				id := fmt.Sprintf("%d-%d", w, i)
				status, _, err := p.try("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent(id, 66))
				if err == nil && status == http.StatusAccepted {
					accepted.Store("Dana telah dicairkan "+id, true)
				} else if failed.Add(1) > 8 {
					return
				}
			}
		})
	}
	s.arrive("some pushes", func() bool { return len(s.pushesTo("A")) > 50 })
	port := s.restartRedis(t)
	wg.Wait()
	s.arrive("every accepted event delivered", func() bool {
		got, all := s.count("A"), true
		accepted.Range(func(id, _ any) bool { all = got[id.(string)] > 0; return all })
		return all
	})
	if failed.Load() == 0 {
		t.Logf("no request failed while Redis on port %s was away", port)
	}
}

// A process gets SIGTERM under load. Nothing that was accepted is lost, nothing is pushed
// twice, and the exit code is 0.
func TestTermUnderLoad(t *testing.T) {
	s := newSite(t)
	first, second := s.serve(), s.serve()
	first.user(66)
	first.device(66, "ios", "A")
	var accepted sync.Map
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				to := []*process{first, second}[i%2]
				id := fmt.Sprintf("%d-%d", w, i)
				status, _, err := to.try("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent(id, 66))
				if err == nil && status == http.StatusAccepted {
					accepted.Store("Dana telah dicairkan "+id, true)
				}
			}
		})
	}
	s.arrive("some pushes", func() bool { return len(s.pushesTo("A")) > 100 })
	if err := first.term(); err != nil {
		t.Errorf("exit: %v", err)
	}
	wg.Wait()
	s.arrive("every accepted event delivered", func() bool {
		got, all := s.count("A"), true
		accepted.Range(func(id, _ any) bool { all = got[id.(string)] > 0; return all })
		return all
	})
	for id, n := range s.count("A") {
		if n > 1 {
			t.Errorf("%s was pushed %d times", id, n)
		}
	}
}

// While the provider is down, pushes wait. They are sent when it is back.
func TestProviderOutage(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	p.user(66)
	p.device(66, "ios", "A")
	s.sandbox.APNs.Fail(sandbox.AnyToken, 5, sandbox.Response{Reason: "ServiceUnavailable", RetryAfter: 1})
	for i := range 20 {
		p.publish(dompetEvent(fmt.Sprint("e", i), 66))
	}
	s.arrive("everything delivered", func() bool { return len(s.count("A")) == 20 })
	again := make(map[string]int)
	for _, push := range s.pushesTo("A") {
		again[push.ID]++
	}
	retried := 0
	for _, n := range again {
		retried += n - 1 // a push that is retried early may fail twice
	}
	if retried != 5 {
		t.Errorf("%d retries kept their apns-id, want 5", retried)
	}
}

func TestServeRefusesAVolatileRedis(t *testing.T) {
	for name, args := range map[string][]string{
		"no append-only file": {"--appendonly", "no"},
		"evicts":              {"--maxmemory-policy", "allkeys-lru"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, args...)
			out, err := s.command("serve").CombinedOutput()
			if err == nil || !strings.Contains(string(out), name) || !strings.Contains(string(out), "redis.allow_volatile") {
				t.Errorf("exit %v: %s", err, out)
			}
			s.vars = append(s.vars, "KABAR_REDIS_ALLOW_VOLATILE=true")
			if err := s.serve().term(); err != nil {
				t.Errorf("with redis.allow_volatile: %v", err)
			}
		})
	}
}

func TestServeRefusesOtherPartitions(t *testing.T) {
	s := newSite(t)
	if err := s.serve().term(); err != nil {
		t.Fatal(err)
	}
	s.vars = append(s.vars, "KABAR_REDIS_PARTITIONS=8")
	out, err := s.command("serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "redis.partitions") || !strings.Contains(string(out), "16") {
		t.Errorf("exit %v: %s", err, out)
	}
}

func TestAdmin(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	get := func(url string) (int, string) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	p.user(66)
	p.device(66, "android", "A")
	p.publish(dompetEvent("e", 66))
	s.arrive("push", func() bool { return len(s.count("A")) == 1 })
	s.arrive("it is counted", func() bool {
		_, metrics := get(p.admin + "/metrics")
		return strings.Contains(metrics, `kabar_pushes_total{app="default",environment="",outcome="accepted",platform="android"`)
	})
	s.arrive("ready", func() bool { status, _ := get(p.admin + "/readyz"); return status == 200 })
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/debug/pprof/": "goroutine",
		"/metrics": `kabar_events_accepted_total{type="dompet"} 1`,
	} {
		if status, body := get(p.admin + path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	_, metrics := get(p.admin + "/metrics")
	for _, name := range []string{
		"kabar_events_stored_total", `kabar_pushes_total{app="default",environment="",outcome="accepted",platform="android"`, "kabar_push_latency_seconds",
		"kabar_outbox_entries", "kabar_outbox_oldest_seconds", "kabar_delayed_entries", "kabar_dead_letters", "kabar_redis_seconds", "kabar_circuit_open",
		`kabar_redis_writable{shard="` + s.redis.Addr() + `"} 1`, "kabar_clock_offset_seconds",
	} {
		if !strings.Contains(metrics, name) {
			t.Errorf("no metric %s", name)
		}
	}
	if status, _ := get(p.url + "/debug/pprof/"); status != 404 {
		t.Errorf("profiles on the public port: %d", status)
	}
	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	if status, _ := get(p.admin + "/healthz"); status != 200 {
		t.Errorf("healthz without Redis: %d", status)
	}
	s.arrive("not ready without Redis", func() bool {
		status, body := get(p.admin + "/readyz")
		return status == 503 && strings.Contains(body, "Redis does not answer")
	})
	if status, answer := p.call("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent("f", 66)); status != 503 || answer["code"] != "unavailable" {
		t.Errorf("publishing without Redis: %d %v", status, answer)
	}
}

// While Redis is away the log has a line at the start, one a minute, and one at the end,
// though all parts of the gateway and its clients notice.
func TestLogsOfAnOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.serve()
	p.user(66)
	before := len(p.logs())
	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	s.arrive("the gateway notices", func() bool { status, _ := p.ready(); return status == http.StatusServiceUnavailable })
	for range 20 {
		if status, _ := p.call("GET", "/v2/notifications/unreads.json", "66:t", "", ""); status != http.StatusServiceUnavailable {
			t.Errorf("status %d while Redis is away", status)
		}
	}
	s.restartRedis(t)
	s.arrive("the gateway is back", func() bool { status, _ := p.ready(); return status == http.StatusOK })
	const back = "a shard of Redis stores again"
	var log string
	s.arrive("the log says so", func() bool { log = p.logs()[before:]; return strings.Contains(log, back) })
	begin, end := 0, 0
	for line := range strings.Lines(log) {
		switch {
		case strings.Contains(line, "the provider cannot be reached yet"): // on a machine that takes long to start
		case strings.Contains(line, "still nothing can be stored"): // on a machine that takes minutes
		case strings.Contains(line, "nothing can be stored on a shard of Redis"):
			begin++
		case strings.Contains(line, back):
			end++
			if strings.Contains(line, "records_dropped=0") {
				t.Errorf("nothing was dropped: %s", line)
			}
		case strings.Contains(line, "level=WARN"), strings.Contains(line, "level=ERROR"):
			t.Errorf("also logged: %s", line)
		}
	}
	if begin != 1 || end != 1 {
		t.Errorf("%d lines at the start, %d at the end", begin, end)
	}
	if err := p.term(); err != nil {
		t.Error(err)
	}
}
