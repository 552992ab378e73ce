package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// restartRedis kills Redis and restarts it with the same port and data, with appendfsync
// always and further arguments.
func (s *site) restartRedis(t *testing.T, args ...string) (port string) {
	t.Helper()
	dir, addr := s.redis.Dir(), s.redis.Addr()
	if err := s.redis.Kill(); err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(addr, "127.0.0.1:%d", &n); err != nil {
		t.Fatal(err)
	}
	redis, err := localredis.Start(t.Context(), localredis.Options{
		Dir: dir, Port: n, Args: append([]string{"--appendfsync", "always"}, args...),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.redis = redis
	return fmt.Sprint(n)
}

// kabar runs a command on the site and returns its output.
func (s *site) kabar(in string, args ...string) (string, error) {
	cmd := s.command(args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *site) must(in string, args ...string) string {
	s.t.Helper()
	out, err := s.kabar(in, args...)
	if err != nil {
		s.t.Fatalf("kabar %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func TestOperatorsCommands(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	p.user(66)
	p.device(66, "android", "longenoughtobeabbreviated")

	out := s.must(dompetEvent("one", 66)+"\n["+dompetEvent("two", 66)+","+dompetEvent("three", 66)+"]", "send")
	if strings.Count(out, "accepted") != 3 {
		t.Errorf("send: %s", out)
	}
	if out := s.must(dompetEvent("one", 66), "send", "-"); !strings.Contains(out, "one\tduplicate") {
		t.Errorf("send again: %s", out)
	}
	slip := strings.Replace(dompetEvent("one", 66), "{", `{"tittle":"t",`, 1)
	if out := s.must(slip, "send"); !strings.Contains(out, "one\twarning: \"tittle\" is not a member of an event") {
		t.Errorf("send an unknown member: %s", out)
	}
	file := filepath.Join(t.TempDir(), "events.json")
	if err := os.WriteFile(file, []byte(dompetEvent("one", 67)+`{"type":"nonsense","receiver_id":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.kabar("", "send", file); err == nil || !strings.Contains(out, "refused: type is not a known event type") {
		t.Errorf("send a bad event: %v %s", err, out)
	}
	s.arrive("pushes", func() bool { return len(s.count("longenoughtobeabbreviated")) == 3 })

	prefers := "reg_id=longenoughtobeabbreviated&config[report]=0&config[private]=1"
	if status, answer := p.call("PATCH", "/v2/notifications/config.json", "66:t", asForm, prefers); status != 200 {
		t.Fatal(status, answer)
	}
	out = s.must("", "devices", "66")
	if !strings.Contains(out, "longen…") || strings.Contains(out, "longenoughto") || !regexp.MustCompile(`report +true +receives`).MatchString(out) {
		t.Errorf("devices: %s", out)
	}
	if _, err := s.kabar("", "devices", "066"); err == nil {
		t.Error("devices of 066")
	}

	s.sandbox.FCM.Fail(sandbox.AnyToken, 2, sandbox.Response{Reason: "INVALID_ARGUMENT", Field: "message.data"})
	s.must(dompetEvent("four", 66)+dompetEvent("five", 66), "send")
	letters := regexp.MustCompile(`(?m)^\d+-\d+-\d+`)
	var ids []string
	s.arrive("dead letters", func() bool {
		ids = letters.FindAllString(s.must("", "dead", "list"), -1)
		return len(ids) == 2
	})
	if out := s.must("", "event", "four"); !strings.Contains(out, "refused") || !strings.Contains(out, "INVALID_ARGUMENT") {
		t.Errorf("event: %s", out)
	}
	if out := s.must("", "dead", "show", ids[0]); !strings.Contains(out, "Dana telah dicairkan") {
		t.Errorf("dead show: %s", out)
	}
	s.must("", "dead", "requeue", ids[0])
	s.arrive("requeued", func() bool { return len(s.count("longenoughtobeabbreviated")) == 4 })
	if out := s.must("", "dead", "drop", "--all"); !strings.Contains(out, "1 dropped") {
		t.Errorf("dead drop: %s", out)
	}
	for _, args := range [][]string{{"dead", "drop"}, {"dead", "drop", ids[0]}, {"dead", "show", "x"}, {"event", "unknown"}} {
		if out, err := s.kabar("", args...); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}

func TestUnsuspendingDevices(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	p.user(66)
	tokens := []string{"firstphoneofthisuser", "secondphoneofthisuser"}
	for _, token := range tokens {
		p.device(66, "android", token)
		s.sandbox.FCM.Fail(token, 1, sandbox.Response{Reason: "SENDER_ID_MISMATCH"})
	}
	s.must(dompetEvent("one", 66), "send")
	suspended := regexp.MustCompile(`(?m)^([0-9a-f]{16}) .*suspended: SENDER_ID_MISMATCH`)
	var found [][]string
	s.arrive("suspended devices", func() bool {
		found = suspended.FindAllStringSubmatch(s.must("", "devices", "66"), -1)
		return len(found) == 2
	})
	for _, c := range []struct{ args, want string }{
		{"66 " + found[0][1], "1 unsuspended"}, {"66 " + found[0][1], "0 unsuspended"}, {"66", "1 unsuspended"}, {"67", "0 unsuspended"},
	} {
		if out := s.must("", append([]string{"devices", "unsuspend"}, strings.Fields(c.args)...)...); !strings.Contains(out, c.want) {
			t.Errorf("devices unsuspend %s: %s", c.args, out)
		}
	}
	if out := s.must("", "devices", "66"); strings.Count(out, "receives") != 2 {
		t.Errorf("devices: %s", out)
	}
	for _, args := range []string{"66 0123456789abcdef", "066"} {
		if out, err := s.kabar("", append([]string{"devices", "unsuspend"}, strings.Fields(args)...)...); err == nil {
			t.Errorf("devices unsuspend %s: %s", args, out)
		}
	}
	s.must(dompetEvent("two", 66), "send")
	for _, token := range tokens {
		s.arrive("a push to "+token, func() bool { return len(s.count(token)) == 1 })
	}
}

func TestDoctor(t *testing.T) {
	s := newSite(t)
	out := s.must("", "doctor")
	for _, name := range []string{"configuration", "redis", "rights", "layout", "durability", "replicas", "clock", "auth", "attachments", "fcm", "apns"} {
		if !strings.Contains(out, "✓ "+name) {
			t.Errorf("%s is not reported as healthy:\n%s", name, out)
		}
	}
	s.sandbox.APNs.Refuse(true)
	s.sandbox.FCM.Refuse(true)
	s.redis.Kill()
	s.vars = append(s.vars, "KABAR_ATTACHMENTS_URL=file:///dev/null/no-folder")
	out, err := s.kabar("", "doctor")
	if err == nil {
		t.Error("the doctor finds nothing wrong")
	}
	for _, name := range []string{"redis", "attachments", "fcm", "apns"} {
		if !strings.Contains(out, "✗ "+name) || !strings.Contains(out, "→") {
			t.Errorf("%s is not reported as unhealthy:\n%s", name, out)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_REDIS_URL=redis://:sesame@127.0.0.1:1/0")
	if out := s.must("", "config", "check"); !strings.Contains(out, "project_id: demo") || strings.Contains(out, "sesame") {
		t.Errorf("config check: %s", out)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "id.yaml"), []byte("no.such.text: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	vars := s.vars
	s.vars = append(vars, "KABAR_TEXTS="+folder)
	if out, err := s.kabar("", "config", "check"); err == nil || !strings.Contains(out, "no.such.text") {
		t.Errorf("an unknown text: %v %s", err, out)
	}
	s.vars = append(vars, "KABAR_FCM_PROJEKT_ID=demo")
	if out, err := s.kabar("", "config", "check"); err == nil || !strings.Contains(out, "KABAR_FCM_PROJECT_ID") {
		t.Errorf("an unknown variable: %v %s", err, out)
	}
}

func TestHealthcheck(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	s.vars = append(s.vars, "KABAR_ADMIN_LISTEN="+strings.TrimPrefix(p.admin, "http://"))
	s.arrive("a healthy gateway", func() bool { _, err := s.kabar("", "healthcheck"); return err == nil })
	p.kill()
	if out, err := s.kabar("", "healthcheck"); err == nil {
		t.Errorf("healthy without a gateway: %s", out)
	}
}

func TestCommandLine(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		args []string
		code int
	}{{nil, 0}, {[]string{"--help"}, 0}, {[]string{"--version"}, 0}, {[]string{"serve", "--nonsense"}, 2}, {[]string{"event", "none"}, 1}} {
		cmd := s.command(c.args...)
		out, _ := cmd.CombinedOutput() // only the exit code matters
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("kabar %v: exit %d, want %d\n%s", c.args, got, c.code, out)
		}
	}
}
