package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func TestFaultFlag(t *testing.T) {
	for text, want := range map[string]faultFlag{
		"not-found":     {name: "not-found"},
		"not-found=0.3": {name: "not-found", options: sandbox.FaultOptions{Share: 0.3}},
		"gone=2x":       {name: "gone", options: sandbox.FaultOptions{Times: 2}},
		"fcm:hang":      {name: "hang", options: sandbox.FaultOptions{Service: sandbox.PlatformFCM}},
		"apns:html=1":   {name: "html", options: sandbox.FaultOptions{Service: sandbox.PlatformAPNs, Share: 1}},
		"list":          {name: "list"},
	} {
		var got faultFlag
		if err := got.UnmarshalText([]byte(text)); err != nil || got.name != want.name || got.options.Service != want.options.Service ||
			got.options.Share != want.options.Share || got.options.Times != want.options.Times {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"not-fuond":   `unknown fault "not-fuond"; did you mean not-found? The faults are unregistered, `,
		"":            "unknown fault",
		"gone=lots":   `"lots" is neither a share of the devices, such as 0.3, nor a number of times, such as 2x`,
		"gone=0":      "neither a share",
		"gone=0x":     "neither a share",
		"gone=-1x":    "cannot be limited to a number of times",
		"gone=30":     "not between 0 and 1",
		"gone=NaN":    "not between 0 and 1",
		"refuse=0.5":  "refuse is not about devices",
		"fcm:gone":    `"fcm" does not have it`,
		"google:hang": `"google" does not have it`,
	} {
		var got faultFlag
		if err := got.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %s", text, err, want)
		}
	}
}

func TestFaultOnCommandLine(t *testing.T) {
	out := newConsole()
	if err := run(t.Context(), out, out, []string{"--fault", "list"}); err != nil {
		t.Error(err)
	}
	for _, f := range sandbox.Faults() {
		if !strings.Contains(out.String(), f.Name+" ") || !strings.Contains(out.String(), "  "+f.Text+"\n") {
			t.Errorf("the list does not have %s:\n%s", f.Name, out)
		}
	}
	err := run(t.Context(), out, out, []string{"--fault", "gone", "--fault", "hnag"})
	if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "did you mean hang?") {
		t.Error(err)
	}
}

// TestPlaygroundWithFaults checks that the providers of a playground have the faults of the
// command line.
func TestPlaygroundWithFaults(t *testing.T) {
	needCurl(t)
	t.Parallel()
	g := launch(t, "--in-memory", "--fault", "apns:bad-topic", "--fault", "retry-after-hour=1", "--fault", "invalid-registration-token=0.001")
	g.out.wait(t, "  faults     bad-topic of APNs\n", 1)
	g.out.wait(t, "             retry-after-hour for 100 % of the devices (Samsung Galaxy A54, Xiaomi Redmi Note 12)\n", 1)
	g.out.wait(t, "             invalid-registration-token for 0.1 % of the devices (none of the demo phones)\n", 1)
	g.out.wait(t, "did not arrive: APNs answered 400 BadTopic", 1)
	g.out.wait(t, "did not arrive: FCM answered 429 QUOTA_EXCEEDED", 1)
	setup := paste(t, "curl -s http://"+printedAddress(t, g.out.String(), "page")+"/setup.json")
	if !strings.Contains(setup, `"faults":["bad-topic of APNs","retry-after-hour for 100 %`) {
		t.Errorf("the page gets %s", setup)
	}
}

// TestPlaygroundSignsIn checks that the gateway of the playground fetches access tokens, and
// says why it cannot send when it gets none.
func TestPlaygroundSignsIn(t *testing.T) {
	needCurl(t)
	t.Parallel()
	g := launch(t, "--in-memory", "--fault", "invalid-grant")
	curl := commands(g.out.String())
	pasteUntil(t, curl[metrics]+" || true", `kabar_pushes_total{app="default",environment="",outcome="[a-z_]+",platform="android",reason="credentials"}`)
}

// TestFaultsAreDocumented checks that the guide describes each fault as the sandbox does, in
// the same order.
func TestFaultsAreDocumented(t *testing.T) {
	guide, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(guide)) {
		if strings.HasPrefix(line, "| `") {
			got = append(got, line)
		}
	}
	for i, f := range sandbox.Faults() {
		want := "| `" + f.Name + "` | " + faultServices(f) + " | " + f.Text + " | "
		if i >= len(got) || !strings.HasPrefix(got[i], want) || len(got[i]) < len(want)+len("ab |\n") {
			t.Fatalf("row %d of docs/faults.md does not begin with\n%s", i+1, want)
		}
	}
	if want := len(sandbox.Faults()); len(got) != want {
		t.Errorf("docs/faults.md has %d rows for %d faults", len(got), want)
	}
}
