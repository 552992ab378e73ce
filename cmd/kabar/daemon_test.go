package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// asDaemon is the environment variable that makes this test binary behave as kabar. Tests
// can then start, kill and stop a real process without building another binary.
const asDaemon = "TEST_RUN_AS_KABAR"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		os.Unsetenv(asDaemon)
		main()
		return
	}
	os.Exit(m.Run())
}

const serviceKey = "a service's key"

// A site is a Redis, a provider sandbox, and any number of kabar processes.
type site struct {
	t       *testing.T
	redis   *localredis.Server
	sandbox *sandbox.Sandbox
	vars    []string
}

func newSite(t *testing.T, redisArgs ...string) *site {
	t.Helper()
	return newSiteWith(t, sandbox.Options{History: 100_000}, redisArgs...)
}

// newSiteWith is newSite with options of the sandbox.
func newSiteWith(t *testing.T, o sandbox.Options, redisArgs ...string) *site {
	t.Helper()
	redis, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir(), Args: redisArgs})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, redis: redis}
	t.Cleanup(func() { s.redis.Close() }) // by then, this may be another server
	box, err := sandbox.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	ca, err := box.CAFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, keyID, teamID, err := box.APNs.WriteKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(serviceKey))
	s.sandbox = box
	s.vars = []string{
		"KABAR_LISTEN=127.0.0.1:0",
		"KABAR_ADMIN_LISTEN=127.0.0.1:0",
		"KABAR_REDIS_URL=" + redis.URL(),
		"KABAR_SERVICES=shop:" + hex.EncodeToString(sum[:]),
		"KABAR_DEVICES_PER_USER=0", // loads register a few users over and over
		"KABAR_FCM_PROJECT_ID=demo",
		"KABAR_FCM_ENDPOINT=" + box.FCM.Endpoint(),
		"KABAR_FCM_CA_FILE=" + ca,
		"KABAR_APNS_KEY_FILE=" + key,
		"KABAR_APNS_KEY_ID=" + keyID,
		"KABAR_APNS_TEAM_ID=" + teamID,
		"KABAR_APNS_TOPIC=id.kabar.demo",
		"KABAR_APNS_ENDPOINT=" + box.APNs.Endpoint(),
		"KABAR_APNS_CA_FILE=" + ca,
		"KABAR_ATTACHMENTS_URL=file://" + t.TempDir(),
		"KABAR_PUSH_LEASE=30s", // so long that no push is repeated because its lease has ended
		"KABAR_LOG_FORMAT=text",
	}
	t.Cleanup(s.audit)
	return s
}

// shortLease has another process soon send what a killed one has claimed.
func (s *site) shortLease() { s.vars = append(s.vars, "KABAR_PUSH_LEASE=2s") }

// audit runs `kabar audit` and fails the test if the data in Redis is inconsistent. It runs
// after the test's processes have ended.
func (s *site) audit() {
	out, err := s.command("audit").CombinedOutput()
	if err == nil {
		return
	}
	for _, meant := range []string{"reach Redis", "redis.allow_volatile", "redis.partitions", "configuration:"} {
		if strings.Contains(string(out), meant) {
			return // the test has stopped Redis, or has made it or the configuration unusable
		}
	}
	s.t.Errorf("audit: %v\n%s", err, out)
}

// command returns a kabar command for this site. It is not started yet.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), s.vars...), asDaemon+"=1")
	return cmd
}

// A process is a running `kabar serve`.
type process struct {
	*site
	cmd        *exec.Cmd
	url, admin string
	mu         sync.Mutex
	log        bytes.Buffer
	logged     sync.WaitGroup
	waited     sync.Once
	exit       error
}

var serves = regexp.MustCompile(`msg="kabar serves" address=(\S+) admin=(\S+)`)

func (s *site) serve() *process {
	s.t.Helper()
	return s.start(s.command("serve"))
}

// start starts a command that serves requests, and waits until it is ready.
func (s *site) start(cmd *exec.Cmd) *process {
	s.t.Helper()
	p := &process{site: s, cmd: cmd}
	out, err := p.cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	p.logged.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			fmt.Fprintln(&p.log, lines.Text())
			p.mu.Unlock()
			if m := serves.FindStringSubmatch(lines.Text()); m != nil {
				p.url, p.admin = "http://"+m[1], "http://"+m[2]
				ready <- true
			}
		}
		close(ready)
	})
	s.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.wait()
		if s.t.Failed() {
			s.t.Logf("log of kabar %d:\n%s", p.cmd.Process.Pid, p.logs())
		}
	})
	if !<-ready {
		s.t.Fatalf("kabar did not start:\n%s", p.logs())
	}
	return p
}

func (p *process) logs() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// wait waits until the process has ended.
func (p *process) wait() error {
	p.waited.Do(func() {
		p.logged.Wait()
		p.exit = p.cmd.Wait()
	})
	return p.exit
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.wait()
}

// term ends the process with SIGTERM, as an orchestrator does.
func (p *process) term() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// call makes a request and decodes the JSON answer.
func (p *process) call(method, path, auth, contentType, body string) (int, map[string]any) {
	p.t.Helper()
	status, answer, err := p.try(method, path, auth, contentType, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, answer
}

func (p *process) try(method, path, auth, contentType, body string) (int, map[string]any, error) {
	return p.ask(context.Background(), http.DefaultClient, method, path, auth, contentType, body)
}

// ask is like try, with a context and a client.
func (p *process) ask(ctx context.Context, client *http.Client, method, path, auth, contentType, body string) (int, map[string]any, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if user, token, ok := strings.Cut(auth, ":"); ok {
		req.SetBasicAuth(user, token)
	} else {
		req.Header.Set("Authorization", "Bearer "+auth)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	var answer map[string]any
	if err := json.Unmarshal(raw, &answer); err != nil {
		return 0, nil, fmt.Errorf("answer %q: %w", raw, err)
	}
	return resp.StatusCode, answer, nil
}

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

// user adds a user who signs in with "ID:t".
func (p *process) user(id int) {
	p.t.Helper()
	if status, answer := p.call("PUT", fmt.Sprintf("/v2/users/%d.json", id), serviceKey, asJSON, `{"token":"t"}`); status != 200 {
		p.t.Fatal(status, answer)
	}
}

// device registers a device of a user and waits for its reminder.
func (p *process) device(user int, platform, token string) {
	p.t.Helper()
	p.register(user, platform, token)
	p.arrive("reminder for "+token, func() bool { return len(p.pushesTo(token)) > 0 })
}

// register registers a device of a user.
func (p *process) register(user int, platform, token string) {
	p.t.Helper()
	field := map[string]string{"android": "reg_id", "ios": "token"}[platform]
	if status, answer := p.call("POST", "/v2/notifications/"+platform+".json", fmt.Sprint(user, ":t"), asForm, field+"="+token); status != 200 {
		p.t.Fatal(status, answer)
	}
}

func (s *site) pushesTo(token string) []sandbox.Push {
	var to []sandbox.Push
	for _, p := range s.sandbox.Pushes() {
		if p.Token == token {
			to = append(to, p)
		}
	}
	return to
}

// waitTimeout is the longest that a test waits for one thing.
const waitTimeout = 2 * time.Minute

// arrive waits until met returns true. It polls, because what follows from a push is not
// signalled.
func (s *site) arrive(what string, met func() bool) {
	s.t.Helper()
	tick, late := time.NewTicker(20*time.Millisecond), time.After(waitTimeout)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("%s: condition not met after %v", what, waitTimeout)
		}
	}
}

func (p *process) publish(body string) {
	p.t.Helper()
	if status, answer := p.call("POST", "/v2/events.json", serviceKey, asJSON, body); status != 202 {
		p.t.Fatal(status, answer)
	}
}

func dompetEvent(id string, user int) string {
	return fmt.Sprintf(`{"id":%q,"type":"dompet","receiver_id":%d,"message":"Dana telah dicairkan %s","details":{"id":%q,"amount":25000}}`, id, user, id, id)
}

// count returns how often a device's provider accepted the push of each event, by message.
func (s *site) count(token string) map[string]int {
	n := make(map[string]int)
	for _, p := range s.pushesTo(token) {
		if p.Accepted() {
			var message struct{ Data map[string]any }
			if json.Unmarshal(p.Body, &message) == nil {
				if text, ok := message.Data["message"].(string); ok {
					n[text]++
				}
			}
		}
	}
	return n
}
