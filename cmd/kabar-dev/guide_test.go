package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

func printed(t *testing.T, g *guide) string {
	t.Helper()
	var b strings.Builder
	if err := g.print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGuideQuotes checks that common shells parse each command of the guide correctly.
func TestGuideQuotes(t *testing.T) {
	all := commands(printed(t, &guide{Public: "127.0.0.1:8080", Admin: "[::1]:9090", Welcome: "569346de6976613129050000"}))
	if len(all) != howMany {
		t.Errorf("%d commands, not %d", len(all), howMany)
	}
	for _, shell := range []string{"sh", "bash", "zsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not installed", shell)
			continue
		}
		for _, command := range all {
			// A function replaces curl and prints each argument on lines of its own.
			words := `curl() { printf '%s\n---\n' "$@"; }; grep() { cat; }; ` + command
			out, err := exec.CommandContext(t.Context(), path, "-c", words).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s\n%s", shell, err, out, command)
			}
			for arg := range strings.SplitSeq(string(out), "\n---\n") {
				if strings.HasPrefix(arg, "{") && !json.Valid([]byte(arg)) {
					t.Errorf("%s: no JSON: %s", shell, arg)
				}
			}
		}
	}
}

func TestGuideSays(t *testing.T) {
	g := &guide{
		Public: "127.0.0.1:54321", PublicInstead: "port 8080 is taken, using 54321", Admin: "127.0.0.1:9090", Page: "127.0.0.1:8090",
		Key: demoKey, People: people, Welcome: "569346de6976613129050000", Kept: true,
	}
	text := printed(t, g)
	for _, want := range []string{
		"gateway    http://127.0.0.1:54321  (port 8080 is taken, using 54321)\n",
		"page       http://127.0.0.1:8090\n",
		"Look at a chat: open http://127.0.0.1:8090 in a browser.",
		"metrics    http://127.0.0.1:9090/metrics\n",
		"users      66 Testing Account      token tok3ntok3n            Samsung Galaxy A54, iPhone 15\n",
		"           110677 Demo Seller      token JheQQS0OKApu3hGJwkRH  no phone yet\n",
		"known for 7 days, also to the\nnext run.",
		"'http://127.0.0.1:54321/v2/notifications/569346de6976613129050000.json'",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colours without a terminal")
	}
	g.Kept = false
	if text := printed(t, g); !strings.Contains(text, "known for 7 days.") {
		t.Errorf("it says that the next run knows the id:\n%s", text)
	}
	g.paint = true
	if text := printed(t, g); !strings.Contains(text, "\x1b[36mcurl ") {
		t.Errorf("no colours on a terminal:\n%q", text)
	}
}
