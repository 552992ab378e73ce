package main

import (
	"strings"
	"testing"
)

// A slow command is described with its beginning, and without the arguments after its first key.
func TestStalls(t *testing.T) {
	ctx := t.Context()
	s, err := startStore(ctx, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.watchStalls(ctx); err != nil {
		t.Fatal(err)
	}
	busy := "for i = 1, 2e7 do end return KEYS[1]" // far longer than a stall
	if err := s.clients[0].Eval(ctx, busy, []string{"key"}, "argument").Err(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := s.describeStalls(ctx, &b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{"event command: ", `["eval" "` + busy + `" "1" "key"]`, "latest_fork_usec: ", "aof_delayed_fsync: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "argument") {
		t.Errorf("arguments in\n%s", text)
	}
}
