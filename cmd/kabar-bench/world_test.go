package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each round is audited when the command line says so, and the run as a whole in any case.
func TestAuditRounds(t *testing.T) {
	for _, c := range []struct {
		args   string
		audits int // without that of the end
	}{
		{"push --users=20 --provider=fcm", 2 * 2 * 2},                                 // warm-up and round, batches, with pushes and without
		{"live --measure=events,storm --sockets=3 --missed=1", 2*4*1 + 2},             // warm-up and round, cases; storms
		{"broadcast --users=60 --broadcast-rate=10 --rate=10 --measure=500ms", 2 * 2}, // warm-up and round, halves
	} {
		name, _, _ := strings.Cut(c.args, " ")
		t.Run(name, func(t *testing.T) {
			for flag, want := range map[string]int{"": 1, "--audit-rounds": c.audits + 1} {
				dir := t.TempDir()
				log := filepath.Join(dir, "audits")
				wrapper := filepath.Join(dir, "kabar")
				script := fmt.Sprintf("#!/bin/sh\ncase $1 in audit) echo >>%q;; esac\nexec %q \"$@\"\n", log, daemon(t))
				if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
				args := append(strings.Fields(c.args+" "+flag), "--rounds=1", "--kabar="+wrapper)
				if !strings.HasPrefix(c.args, "live") {
					args = append(args, "--latency=1ms")
				}
				if got := runWith(t.Context(), nil, args...); got.code != 0 {
					t.Fatalf("code %d:\n%s", got.code, got.err)
				}
				audits, err := os.ReadFile(log)
				if n := strings.Count(string(audits), "\n"); err != nil || n != want {
					t.Errorf("%q: %d audits, want %d; %v", flag, n, want, err)
				}
			}
		})
	}
}
