package outbox

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// gather returns the gauges of a registry by name and label, without the help.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Error(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = m.GetGauge().GetValue()
		}
	}
	return values
}

// While Redis does not answer, the gauges keep their last values.
func TestGaugesWithoutRedis(t *testing.T) {
	t.Parallel()
	w := newOwnWorld(t)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewCollector(w.Outbox))
	w.queue(1, push.Chat, "queued")
	w.delay(2, push.Chat, "delayed")
	w.wait(3, push.Chat, "ios", "waiting", far)
	w.bury(0, now, push.Bulk, "dead")
	before := gather(t, reg)
	for name, want := range map[string]float64{
		"kabar_outbox_entries chat": 1, "kabar_delayed_entries chat": 2, "kabar_dead_letters": 1,
		"kabar_outbox_entries urgent": 0, "kabar_gauges_age_seconds outbox": 0,
	} {
		if got, ok := before[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if err := w.server.Kill(); err != nil {
		t.Fatal(err)
	}
	w.passed.Store(int64(time.Minute))
	after := gather(t, reg)
	if age := after["kabar_gauges_age_seconds outbox"]; age != 60 {
		t.Errorf("the values are %v s old", age)
	}
	for name, value := range before {
		if got, ok := after[name]; !strings.HasPrefix(name, "kabar_gauges_age") && (!ok || got != value) {
			t.Errorf("%s is %v without Redis, %v before", name, got, value)
		}
	}
}
