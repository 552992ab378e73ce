package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v3"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const (
	alertRules     = "../../docs/alerts.yaml"
	scrapeInterval = 15 * time.Second
	healthyFor     = 30 * time.Minute // what Prometheus has seen before the fault
	faultyFor      = time.Hour        // and from the fault on
	alertUsers     = 12               // with a phone each, which a provider has accepted
)

// A fault makes one alert fire, and no other.
type alertFault struct {
	alert string
	vars  []string // of the gateways
	// inject injects the fault and returns once the metrics show it.
	inject func(t *testing.T, s *alertSite)
	// ages is how long after the fault the alert's expression becomes true, where that
	// takes more than the next scrape.
	ages time.Duration
}

var alertFaults = []alertFault{
	{alert: "KabarAway", inject: func(_ *testing.T, s *alertSite) { s.first.kill() }},
	{alert: "KabarProcessDown", inject: func(_ *testing.T, s *alertSite) { s.second.kill() }},
	{alert: "KabarRedisRefusesWrites", inject: func(t *testing.T, s *alertSite) {
		s.configure(t, "maxmemory", "1", "0")
		s.until(`kabar_redis_writable{shard="`+s.redis.Addr()+`"}`, func(v float64) bool { return v == 0 })
	}},
	{alert: "KabarCircuitOpen", inject: func(_ *testing.T, s *alertSite) {
		s.sandbox.FCM.Fail(sandbox.AnyToken, -1, sandbox.Response{Status: http.StatusUnauthorized, NoDetails: true})
		s.publishToAll("dompet")
		s.until(`kabar_circuit_open{app="default",environment="",platform="android"}`, isOne)
	}},
	{alert: "KabarProviderUnreachable", inject: func(_ *testing.T, s *alertSite) {
		s.sandbox.FCM.Outage(time.Hour)
		s.publishToAll("dompet")
		s.until(`kabar_provider_unreachable{app="default",environment="",platform="android"}`, isOne)
	}},
	{alert: "KabarDeadTokenStorm", inject: func(_ *testing.T, s *alertSite) {
		for user := range alertUsers * 2 / 3 {
			s.sandbox.FCM.Fail(phoneOf(user), -1, sandbox.Response{Reason: "UNREGISTERED"})
		}
		s.publishToAll("dompet")
		s.until(`kabar_dead_token_storm{app="default",environment="",platform="android"}`, isOne)
	}},
	{alert: "KabarLanePaused", ages: 5*time.Minute + scrapeInterval, inject: func(_ *testing.T, s *alertSite) {
		s.sandbox.FCM.Fail(sandbox.AnyToken, -1, sandbox.Response{Reason: "QUOTA_EXCEEDED", RetryAfter: time.Minute})
		s.publishToAll("announcement")
		s.until(`kabar_lane_paused{app="default",environment="",lane="bulk",platform="android"}`, isOne)
	}},
	{alert: "KabarPushesUnsent", ages: 5 * time.Minute, inject: func(_ *testing.T, s *alertSite) {
		s.sandbox.FCM.Fail(sandbox.AnyToken, -1, sandbox.Response{Reason: "UNAVAILABLE"})
		s.publishToAll("dompet")
		s.until(`kabar_outbox_entries{lane="urgent"}`, func(v float64) bool { return v == 0 })
		s.until(`kabar_unsent_oldest_seconds{lane="urgent"}`, func(v float64) bool { return v > 0 })
	}},
	{
		alert: "KabarOutboxNotDraining", ages: time.Minute,
		vars: []string{"KABAR_PUSH_IN_FLIGHT_URGENT=1"},
		inject: func(_ *testing.T, s *alertSite) {
			s.sandbox.FCM.SetLatency(5 * time.Second)
			s.publishToAll("dompet")
			s.until(`kabar_outbox_oldest_seconds{lane="urgent"}`, func(v float64) bool { return v > 0 })
		},
	},
	{alert: "KabarDeadLetters", inject: func(_ *testing.T, s *alertSite) {
		s.sandbox.FCM.Fail(sandbox.AnyToken, -1, sandbox.Response{Reason: "INVALID_ARGUMENT", Field: "message.data"})
		s.publishToAll("dompet")
		s.until("kabar_dead_letters", func(v float64) bool { return v == alertUsers })
	}},
	{alert: "KabarReportsDropped", inject: func(_ *testing.T, s *alertSite) {
		s.webhook.Store(http.StatusGone)
		s.sandbox.FCM.Fail(phoneOf(0), -1, sandbox.Response{Reason: "INVALID_ARGUMENT", Field: "message.data"})
		s.publishToAll("dompet")
		s.until(`kabar_reports_dropped_total{reason="gone",service="shop"}`, isOne)
	}},
	{alert: "KabarLiveSilent", inject: func(t *testing.T, s *alertSite) {
		s.first.dial(userOf(0), "")
		ask := func(command ...any) {
			if err := s.client.Do(t.Context(), command...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		ask("ACL", "SETUSER", "default", "-subscribe")
		t.Cleanup(func() { s.client.Do(context.Background(), "ACL", "SETUSER", "default", "+subscribe") })
		ask("CLIENT", "KILL", "TYPE", "pubsub")
		s.until("kabar_live_bus_silent_connections", isOne)
	}},
}

// Each alert of docs/alerts.yaml is fired by a fault: it alone fires, and nothing fires
// before. The input of promtool is what real gateways export.
func TestAlerts(t *testing.T) {
	rules := readAlertRules(t)
	for _, f := range alertFaults {
		t.Run(f.alert, func(t *testing.T) {
			t.Parallel()
			s := newAlertSite(t, f)
			scrape := s.scrapeIdle
			if f.alert == "KabarOutboxNotDraining" {
				scrape = s.scrape
			}
			before := s.scrape()
			f.inject(t, s)
			fires := healthyFor + rules[f.alert] + f.ages + scrapeInterval
			s.promtool(t, before, scrape(), map[time.Duration]string{healthyFor - scrapeInterval: "", fires: f.alert})
		})
	}
}

func TestAlertRules(t *testing.T) {
	if out, err := exec.Command(findPromtool(t), "check", "rules", alertRules).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	injected := make(map[string]bool)
	for _, f := range alertFaults {
		injected[f.alert] = true
	}
	for alert := range readAlertRules(t) {
		if !injected[alert] {
			t.Errorf("no test fires %s", alert)
		}
	}
	text, err := os.ReadFile(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	exported := make(map[string]bool)
	for key := range newAlertSite(t, alertFault{}).first.metrics() {
		name, _, _ := strings.Cut(key, "{")
		exported[name] = true
	}
	names := regexp.MustCompile(`\bkabar_[a-z_]+\b`).FindAllString(string(text), -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !exported[name] {
			t.Errorf("a healthy gateway does not export %s", name)
		}
	}
}

// readAlertRules returns how long each alert waits before it fires, the longest of those
// with the same name.
func readAlertRules(t *testing.T) map[string]time.Duration {
	t.Helper()
	text, err := os.ReadFile(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert string
				For   string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	waits := make(map[string]time.Duration)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			wait, err := model.ParseDuration("0s")
			if r.For != "" {
				wait, err = model.ParseDuration(r.For)
			}
			if err != nil {
				t.Fatal(err)
			}
			waits[r.Alert] = max(waits[r.Alert], time.Duration(wait))
		}
	}
	return waits
}

func findPromtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: make setup installs it (Debian, Ubuntu: apt-get install prometheus)")
	}
	return path
}

// An alertSite is two gateways, a webhook and users with phones.
type alertSite struct {
	*site
	first, second *process
	client        *redis.Client
	webhook       atomic.Int32 // the status that the service's webhook answers
}

func newAlertSite(t *testing.T, f alertFault) *alertSite {
	t.Helper()
	s := &alertSite{site: newSite(t)}
	s.webhook.Store(http.StatusNoContent)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(s.webhook.Load())) }))
	t.Cleanup(receiver.Close)
	sum := sha256.Sum256([]byte(serviceKey))
	path := filepath.Join(t.TempDir(), "kabar.yaml")
	file := fmt.Sprintf("services:\n  - name: shop\n    key_sha256: %q\n    webhook: {url: %q, secret: whsec_%s}\nwebhooks: {allow_private: true}\n",
		hex.EncodeToString(sum[:]), receiver.URL, base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two bytes, ok")))
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s.vars = slices.DeleteFunc(s.vars, func(v string) bool { return strings.HasPrefix(v, "KABAR_SERVICES") })
	s.vars = append(append(s.vars, "KABAR_CONFIG="+path), f.vars...)
	s.client = redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	t.Cleanup(func() { s.client.Close() })

	s.first = s.serve()
	if f.alert != "KabarAway" {
		s.second = s.serve()
	}
	for user := range alertUsers {
		s.first.user(userOf(user))
		s.first.device(userOf(user), "android", phoneOf(user))
	}
	for _, lane := range []string{"urgent", "chat", "bulk"} {
		s.until(fmt.Sprintf("kabar_outbox_entries{lane=%q}", lane), func(v float64) bool { return v == 0 })
	}
	return s
}

func userOf(n int) int { return 101 + n }

func phoneOf(n int) string { return fmt.Sprint("PHONE-", n) }

func isOne(v float64) bool { return v == 1 }

func (s *alertSite) publishToAll(typ string) {
	s.t.Helper()
	for user := range alertUsers {
		s.first.publish(fmt.Sprintf(`{"id":"%s-%d","type":%q,"receiver_id":%d,"title":"t","message":"m"}`, typ, user, typ, userOf(user)))
	}
}

// configure sets a parameter of Redis, and sets it back when the test ends.
func (s *alertSite) configure(t *testing.T, key, value, usual string) {
	t.Helper()
	if err := s.client.ConfigSet(t.Context(), key, value).Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.ConfigSet(context.Background(), key, usual) })
}

// until waits until a gateway exports a value that is as wanted.
func (s *alertSite) until(key string, wanted func(float64) bool) {
	s.t.Helper()
	s.arrive(key, func() bool {
		for _, p := range []*process{s.first, s.second} {
			if p == nil {
				continue
			}
			if v, ok := p.metrics()[key]; ok && wanted(v) {
				return true
			}
		}
		return false
	})
}

// scrapeIdle is scrape at a moment when no urgent push is queued: one that is just being
// retried would age with the figures, which the test stretches over minutes.
func (s *alertSite) scrapeIdle() (all map[string]float64) {
	s.t.Helper()
	s.arrive("a scrape while no urgent push is queued", func() bool {
		all = s.scrape()
		for series, n := range all {
			if strings.HasPrefix(series, "kabar_outbox_entries{") && strings.Contains(series, `lane="urgent"`) && n > 0 {
				return false
			}
		}
		return true
	})
	return all
}

// scrape returns what Prometheus would have after a scrape of the gateways: by the name and
// the labels of the series.
func (s *alertSite) scrape() map[string]float64 {
	all := make(map[string]float64)
	for i, p := range []*process{s.first, s.second} {
		if p == nil {
			continue
		}
		target := fmt.Sprintf(`instance="gateway-%d:9090",job="kabar"`, i+1)
		metrics, err := p.tryMetrics()
		all["up{"+target+"}"] = 1
		if err != nil {
			all["up{"+target+"}"] = 0
		}
		for key, value := range metrics {
			name, labels, _ := strings.Cut(strings.TrimSuffix(key, "}"), "{")
			if !strings.HasPrefix(name, "kabar_") || strings.HasSuffix(name, "_bucket") {
				continue
			}
			if labels != "" {
				labels = "," + labels
			}
			all[name+"{"+target+labels+"}"] = value
		}
	}
	return all
}

// promtool evaluates the rules with Prometheus' own tool, over series that had one value for
// healthyFor and then another. At each time only the alert that is named may fire, or none.
func (s *alertSite) promtool(t *testing.T, before, after map[string]float64, firing map[time.Duration]string) {
	t.Helper()
	type series struct {
		Series string `json:"series"`
		Values string `json:"values"`
	}
	type sample struct {
		Labels string  `json:"labels"`
		Value  float64 `json:"value"`
	}
	type expectation struct {
		Expr    string   `json:"expr"`
		Time    string   `json:"eval_time"`
		Samples []sample `json:"exp_samples"`
	}
	var input []series
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		input = append(input, series{name, values(name, before, after)})
	}
	var expected []expectation
	for at, alert := range firing {
		e := expectation{Expr: `group by (alertname) (ALERTS{alertstate="firing"})`, Time: model.Duration(at).String()}
		if alert != "" {
			e.Samples = []sample{{fmt.Sprintf("{alertname=%q}", alert), 1}}
		}
		expected = append(expected, e)
	}
	rules, err := filepath.Abs(alertRules)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.MarshalIndent(map[string]any{
		"rule_files":          []string{rules},
		"evaluation_interval": model.Duration(scrapeInterval),
		"tests": []map[string]any{{
			"interval": model.Duration(scrapeInterval), "input_series": input, "promql_expr_test": expected,
		}},
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "alerts_test.yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), findPromtool(t), "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, file)
	}
}

// values returns the values of a series in promtool's notation. An age goes on growing while
// the fault lasts; everything else stays as it is.
func values(name string, before, after map[string]float64) string {
	const healthy, faulty = int(healthyFor / scrapeInterval), int(faultyFor / scrapeInterval)
	first := fmt.Sprintf("_x%d", healthy)
	if v, ok := before[name]; ok {
		first = fmt.Sprintf("%gx%d", v, healthy-1)
	}
	v, ok := after[name]
	if !ok {
		return first + " stale"
	}
	growth := 0.0
	if family, _, _ := strings.Cut(name, "{"); strings.HasSuffix(family, "_oldest_seconds") && v > 0 {
		growth = scrapeInterval.Seconds()
	}
	return fmt.Sprintf("%s %g+%gx%d", first, v, growth, faulty)
}
