package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// parse parses a command line as run does.
func parse(t *testing.T, args ...string) grammar {
	t.Helper()
	var c grammar
	p, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

// Both builds get every flag of the scenario, so that neither uses a default of its own.
// The test fails when a flag is added to a scenario but not to its args method.
func TestArgs(t *testing.T) {
	push := parse(t, "push", "--users=7", "--rounds=2", "--latency=3ms", "--publishers=4", "--batch-publishers=5",
		"--rate=1500000.5", "--in-flight=6", "--provider=fcm,apns", "--timeout=8m").Push
	if got := parse(t, push.args()...); !got.JSON || !reflect.DeepEqual(got.Push, push) {
		t.Errorf("%+v\nwant %+v", got.Push, push)
	}
	live := parse(t, "live", "--idle=1", "--sockets=2", "--missed=3", "--rounds=4", "--publishers=5", "--batch-publishers=6",
		"--rate=7.5", "--settle=8ms", "--measure=storm,idle", "--timeout=9m").Live
	if got := parse(t, live.args()...); !got.JSON || !reflect.DeepEqual(got.Live, live) {
		t.Errorf("%+v\nwant %+v", got.Live, live)
	}
	// The flags above must be all that the scenarios have, except for those that each build
	// sets for itself, and for Devices, which needs --url: that has no baseline.
	own := []string{"Kabar", "Profile", "baselineFlags", "Devices"}
	for _, given := range []any{push, live} {
		v := reflect.ValueOf(given)
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).IsZero() != slices.Contains(own, name) {
				t.Errorf("%T: the command line of this test lacks %s", given, name)
			}
		}
	}
}

// oneRound returns a report of one round in which every CPU figure is cpu.
func oneRound(cpu float64) *pushReport {
	row := newPushRow(apns, 1)
	row.add(outcome{pushesPerSecond: 1000, gateway: cpu, redis: cpu, p50: 20, p99: 30, bytes: 900, logged: 4000}, bareOutcome{2000, 50, 800})
	return &pushReport{
		Settings: pushSettings{Rounds: 1},
		Pushes:   []pushRow{row},
		Redis:    []redisRow{{Work: workStore, Batch: 1, CPU: of(cpu), Bare: of(20), Goal: goalStore, Logged: of(3000), BareLogged: of(900)}},
	}
}

func blankPush() *pushReport { return &pushReport{Settings: pushSettings{Rounds: 1}} }

func TestInTurns(t *testing.T) {
	var order []string
	value := map[string][]float64{"ours": {90, 110, 100}, "baseline": {200, 180, 250}}
	ours, baseline, err := inTurns(3, build{name: "ours"}, build{name: "baseline"}, blankPush,
		func(round int, of build, into *pushReport) error {
			order = append(order, of.name)
			got := oneRound(value[of.name][round-1])
			got.compareRedis() // a load generator does this as well
			*into = *got
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ours", "baseline", "baseline", "ours", "ours", "baseline"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	ours.compareRedis()
	if f := ours.Pushes[0].GatewayCPU; f.Median != 100 || !slices.Equal(f.Rounds, value["ours"]) {
		t.Errorf("ours: %+v", f)
	}
	if f := baseline.Pushes[0].GatewayCPU; f.Median != 200 || !slices.Equal(f.Rounds, value["baseline"]) {
		t.Errorf("baseline: %+v", f)
	}
	if row := ours.Pushes[0]; row.Ratio != 2 || !row.Met {
		t.Errorf("not judged by the median: %+v", row)
	}
	if r := ours.Redis; len(r) != 2 || r[0].CPU.Median != 100 || r[1].Work != workPush || r[1].CPU.Median != 100 || r[1].Ratio != 5 {
		t.Errorf("Redis: %+v", r)
	}
}

func TestInTurnsFails(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		spoil func(r *pushReport) error // changes the report of the baseline's second round
		want  string
		is    error
	}{
		{"a round fails", func(*pushReport) error { return broken }, "baseline, round 2: broken", broken},
		{"other settings", func(r *pushReport) error { r.Settings.Users = 5; return nil }, "baseline measured with the settings {Users:5 ", nil},
		{"other cases", func(r *pushReport) error { r.Pushes[0].Batch = 20; return nil }, "APNs, 20", errOtherCases},
		{"fewer cases", func(r *pushReport) error { r.Pushes = nil; return nil }, "baseline, round 2", errOtherCases},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := inTurns(3, build{name: "ours"}, build{name: "baseline"}, blankPush,
				func(round int, of build, into *pushReport) error {
					*into = *oneRound(100)
					if round == 2 && of.name == "baseline" {
						return c.spoil(into)
					}
					return nil
				})
			if err == nil || !strings.Contains(err.Error(), c.want) || (c.is != nil && !errors.Is(err, c.is)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A baseline that measures other cases in every round is an error, too.
func TestInTurnsOfOtherCases(t *testing.T) {
	_, _, err := inTurns(1, build{name: "ours"}, build{name: "baseline"}, blankPush,
		func(_ int, of build, into *pushReport) error {
			*into = *oneRound(100)
			if of.name == "baseline" {
				into.Redis = nil
			}
			return nil
		})
	if !errors.Is(err, errOtherCases) {
		t.Error(err)
	}
}

func TestCompareRows(t *testing.T) {
	ours, baseline := oneRound(90), oneRound(120)
	baseline.Pushes[0].LatencyP99 = figure{} // not measured
	r := &baselineReport{Binary: "/tmp/old", Version: "v1", Figures: compareRows(ours.rows(), baseline.rows())}
	const want = `
by turns with the baseline /tmp/old, v1

                           ours  baseline  ratio
gateway CPU, µs a push
  APNs, 1                 90.00     120.0   0.75
Redis CPU, µs a push
  APNs, 1                 90.00     120.0   0.75
pushes/s
  APNs, 1                  1000      1000   1.00
latency p50, ms
  APNs, 1                 20.00     20.00   1.00
bare loop CPU, µs a push
  APNs, 1                 50.00     50.00   1.00
bare loop, pushes/s
  APNs, 1                  2000      2000   1.00
bytes a push
  APNs, 1                 900.0     900.0   1.00
AOF bytes a push
  APNs, 1                  4000      4000   1.00
bare loop, bytes a push
  APNs, 1                 800.0     800.0   1.00
Redis CPU, µs an event
  publish, 1              90.00     120.0   0.75
bare script CPU, µs
  publish, 1              20.00     20.00   1.00
AOF bytes an event
  publish, 1               3000      3000   1.00
bare script, AOF bytes
  publish, 1              900.0     900.0   1.00
`
	if got := r.text(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}

	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	type figure struct {
		Median float64   `json:"median"`
		Rounds []float64 `json:"rounds"`
	}
	var back struct { // the names are fixed, because consumers of the JSON rely on them
		Binary  string `json:"binary"`
		Version string `json:"version"`
		Figures []struct {
			Case     string  `json:"case"`
			Figure   string  `json:"figure"`
			Ours     figure  `json:"ours"`
			Baseline figure  `json:"baseline"`
			Ratio    float64 `json:"ours_to_baseline"`
		} `json:"figures"`
	}
	decode(t, string(text), &back)
	if f := back.Figures[0]; len(back.Figures) != 13 || f.Case != "APNs, 1" || f.Ours.Median != 90 || f.Baseline.Median != 120 || f.Ratio != 0.75 {
		t.Errorf("%s", text)
	}
}

// Each row of a live report has a name of its own and can be compared.
func TestCompareRowsOfLive(t *testing.T) {
	all := compareRows(testLiveReport().rows(), testLiveReport().rows())
	seen := make(map[string]bool)
	for _, c := range all {
		if c.Ratio != 1 || len(c.Ours.Rounds) != 1 {
			t.Errorf("%+v", c)
		}
		seen[c.Case+": "+c.Title] = true
	}
	if want := 3*9 + 5 + 3; len(all) != want || len(seen) != want {
		t.Errorf("%d comparisons, %d of them different, want %d", len(all), len(seen), want)
	}
}

func TestBaselineDaemon(t *testing.T) {
	dir := t.TempDir()
	f := baselineFlags{Baseline: filepath.Join(dir, "kabar-bench")}
	if _, err := f.daemon(); err == nil || !strings.Contains(err.Error(), "--baseline-kabar") {
		t.Errorf("without a daemon: %v", err)
	}
	beside := filepath.Join(dir, "kabar")
	if err := os.WriteFile(beside, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := f.daemon(); err != nil || got != beside {
		t.Errorf("%q, %v, want the one beside it", got, err)
	}
	f.BaselineKabar = "/another"
	if got, err := f.daemon(); err != nil || got != "/another" {
		t.Errorf("%q, %v, want the one that was given", got, err)
	}
}

// withItself returns a command line that compares this build with itself.
func withItself(t *testing.T, args ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append(args, "--kabar="+daemon(t), "--baseline="+self, "--baseline-kabar="+daemon(t))
}

// TestPushWithBaseline makes a small run of both builds, each as a process.
func TestPushWithBaseline(t *testing.T) {
	got := runWith(t.Context(), nil, withItself(t, "push", "--users=20", "--rounds=2", "--latency=1ms", "--provider=apns", "--json")...)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	var r pushReport
	decode(t, got.out, &r)
	if len(r.Pushes) != 2 || len(r.Redis) != 4 || r.Settings.Rounds != 2 || r.Machine.Redis == "" {
		t.Errorf("reported %s", got.out)
	}
	if r.Baseline == nil || r.Baseline.Version == "" || len(r.Baseline.Figures) != 2*10+2*4 {
		t.Fatalf("compared %s", got.out)
	}
	for _, c := range r.Baseline.Figures {
		if len(c.Ours.Rounds) != 2 || len(c.Baseline.Rounds) != 2 {
			t.Errorf("%+v", c)
		}
	}
	for _, line := range []string{"round 1 of 2, ours:", "round 2 of 2, baseline:", "APNs, 100 events a request, round 1"} {
		if !strings.Contains(got.err, line) {
			t.Errorf("no %q in\n%s", line, got.err)
		}
	}
}

func TestLiveWithBaseline(t *testing.T) {
	got := runWith(t.Context(), nil, withItself(t, "live", "--measure=storm", "--sockets=3", "--missed=1", "--rounds=1")...)
	if got.code != 0 {
		t.Fatalf("code %d:\n%s", got.code, got.err)
	}
	for _, line := range []string{"all come back at once", "by turns with the baseline", "gateway CPU, µs a client\n  3 sockets, 1 events each"} {
		if !strings.Contains(got.out, line) {
			t.Errorf("no %q in\n%s", line, got.out)
		}
	}
}

// Ctrl-C ends the processes of a build and the processes that they have started.
func TestBaselineInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	got := runWith(ctx, func(says string) {
		if strings.Contains(says, "registering") {
			interrupt()
		}
	}, withItself(t, "push", "--users=50", "--rounds=100")...)
	if got.code != 1 || !strings.Contains(got.err, "ours, round 1: context canceled") {
		t.Errorf("code %d:\n%s", got.code, got.err)
	}
}

// When the baseline does not know a flag, the run ends with the baseline's error message.
// The run also ends when the baseline prints something other than a report.
func TestBaselineThatCannotBeRun(t *testing.T) {
	for _, c := range []struct{ name, script, want, says string }{
		{"fails", "echo \"unknown flag $2\" >&2; exit 2", "kabar-bench: exit status 2", "unknown flag --json\n"},
		{"prints a table", "echo APNs", "report of ", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kabar-bench")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			var said listener
			err := build{"baseline", path, "/kabar"}.measureRound(t.Context(), []string{"push", "--json"}, &said, blankPush())
			if err == nil || !strings.Contains(err.Error(), c.want) || said.text.String() != c.says {
				t.Errorf("%v, said %q", err, said.text.String())
			}
		})
	}
}
