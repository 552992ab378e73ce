package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
)

// broadcast starts a broadcast with the members in rest, an audience among them, and returns a function that reads its state and progress.
func (p *process) broadcast(id, rest string) func() (state string, progress map[string]any) {
	p.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"message":"Promo"%s}`, id, rest)
	if status, answer := p.call("POST", "/v2/broadcasts.json", serviceKey, asJSON, body); status != 202 {
		p.t.Fatalf("start a broadcast: %d %v", status, answer)
	}
	return func() (string, map[string]any) {
		p.t.Helper()
		_, answer := p.call("GET", "/v2/broadcasts/"+id+".json", serviceKey, "", "")
		b, _ := answer["broadcast"].(map[string]any)
		state, _ := b["state"].(string)
		progress, _ := b["progress"].(map[string]any)
		return state, progress
	}
}

// watch starts to watch a broadcast and waits until that shows it as running. The function
// that it returns waits for the end and returns the whole output.
func (s *site) watch(id string) (said func() string) {
	s.t.Helper()
	cmd := s.command("broadcast", "watch", id, "--every", "100ms")
	r, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cmd.Process.Kill() })
	out := bufio.NewReader(r)
	first, err := out.ReadString('\n')
	if err != nil || !strings.Contains(first, " "+id+": running, ") {
		s.t.Fatalf("watch: %q, %v", first, err)
	}
	return func() string {
		s.t.Helper()
		rest, err := io.ReadAll(out)
		if err := errors.Join(err, cmd.Wait()); err != nil {
			s.t.Fatalf("watch: %v\n%s%s%s", err, first, rest, &complaints)
		}
		return first + string(rest)
	}
}

// testBroadcast kills the process that runs a broadcast. Another process continues it.
// Every user is notified once, and every phone gets the push.
func testBroadcast(t *testing.T, s *site) {
	const users = 60
	s.shortLease()
	p := s.serve()
	for user := 1; user <= users; user++ {
		p.user(user)
		p.device(user, "android", fmt.Sprint("A", user))
	}
	// The rate is low enough that the process is killed in the middle.
	progress := p.broadcast("promo", `,"audience":"all","rate":5`)
	s.arrive("some are told", func() bool {
		_, now := progress()
		sent, _ := now["sent"].(float64)
		return sent >= 10
	})
	p.kill()
	watch := s.watch("promo") // before another process continues
	second := s.serve()
	if out := watch(); !strings.Contains(out, "60 of 60 users") {
		t.Errorf("watch: %s", out)
	}
	for user := 1; user <= users; user++ {
		token := fmt.Sprint("A", user)
		s.arrive("push to "+token, func() bool { return len(s.count(token)) == 1 })
		_, unreads := second.call("GET", "/v2/notifications/unreads.json", fmt.Sprint(user, ":t"), "", "")
		if unreads["unread_notifications"] != 1.0 {
			t.Errorf("user %d: unreads %v", user, unreads)
		}
	}
	if out := s.must("", "broadcast", "show", "promo", "--service", "shop"); !strings.Contains(out, "sent      60 users") {
		t.Errorf("show: %s", out)
	}
}

func TestBroadcastSurvivesKill(t *testing.T) { testBroadcast(t, newSite(t)) }

func TestBroadcastOnACluster(t *testing.T) {
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_REDIS_URL="+startCluster(t))
	testBroadcast(t, s)
}

// TestBroadcastCommands checks the operator's commands. Watching fails when not every user
// was reached.
func TestBroadcastCommands(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	p.user(66)
	p.broadcast("later", `,"audience":"all","at":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"`)
	for _, step := range []struct{ command, state string }{
		{"pause", "paused"}, {"resume", "scheduled"}, {"cancel", "cancelled"},
	} {
		if out := s.must("", "broadcast", step.command, "later"); !strings.HasPrefix(out, "later: "+step.state) {
			t.Errorf("%s: %s", step.command, out)
		}
	}
	if out := s.must("", "broadcast", "list"); !strings.Contains(out, "later  shop     broadcast  cancelled") {
		t.Errorf("list: %s", out)
	}
	if out, err := s.kabar("", "broadcast", "watch", "later"); err == nil || !strings.Contains(out, `"later" is cancelled`) {
		t.Errorf("watch: %v %s", err, out)
	}
	for _, args := range [][]string{
		{"broadcast", "resume", "later"}, {"broadcast", "show", "unknown"}, {"broadcast", "show", "later", "--service", "cli"},
	} {
		if out, err := s.kabar("", args...); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// The bar shows the progress, follows a growing total, and ends with a newline.
func TestBroadcastBar(t *testing.T) {
	var out strings.Builder
	draw := bar(&out, broadcast.Status{})
	draw(broadcast.Status{State: broadcast.Running, Total: 200, Walked: 50, Pace: 9.7, Left: 15 * time.Second})
	if got := out.String(); !strings.Contains(got, "running 10/s, 15s left") || !strings.Contains(got, "(50/200)") {
		t.Errorf("running: %q", got)
	}
	draw(broadcast.Status{State: broadcast.Done, Total: 210, Walked: 210})
	if got := out.String(); !strings.Contains(got, "done") || !strings.HasSuffix(got, "\n") {
		t.Errorf("done: %q", got)
	}
}

// In a file or a pipe, each change is printed as one line.
func TestBroadcastLines(t *testing.T) {
	var out strings.Builder
	draw := lines(&out)
	s := broadcast.Status{ID: "x", State: broadcast.Paused, Total: 200, Failed: map[string]int64{"off": 2, "UNREGISTERED": 1}, Left: -1}
	draw(s)
	draw(s)
	s.Walked, s.Sent = 50, 40
	draw(s)
	got := out.String()
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, "x: paused, 50 of 200 users, sent 40, skipped 0, pushed 0, failed 3, 0/s\n") {
		t.Errorf("%q", got)
	}
}
