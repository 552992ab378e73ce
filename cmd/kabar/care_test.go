package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// traces returns the Redis keys whose name or content contains one of the texts.
func (s *site) traces(texts ...string) map[string]string {
	s.t.Helper()
	ctx := s.t.Context()
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	defer rdb.Close()
	found := make(map[string]string)
	all := rdb.Scan(ctx, 0, "*", 1000).Iterator()
	for all.Next(ctx) {
		key := all.Val()
		held := key + " " + content(ctx, rdb, key)
		for _, text := range texts {
			if strings.Contains(held, text) {
				found[key] = held
			}
		}
	}
	if err := all.Err(); err != nil {
		s.t.Fatal(err)
	}
	return found
}

func content(ctx context.Context, rdb *redis.Client, key string) string {
	var held any
	var err error
	switch rdb.Type(ctx, key).Val() {
	case "string":
		held, err = rdb.Get(ctx, key).Result()
	case "hash":
		held, err = rdb.HGetAll(ctx, key).Result()
	case "set":
		held, err = rdb.SMembers(ctx, key).Result()
	case "zset":
		held, err = rdb.ZRange(ctx, key, 0, -1).Result()
	case "stream":
		held, err = rdb.XRange(ctx, key, "-", "+").Result()
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return err.Error()
	}
	return fmt.Sprint(held)
}

// upload uploads a small picture as a user.
func (p *process) upload(user int) {
	p.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "foto.png")
	if err != nil {
		p.t.Fatal(err)
	}
	if err := png.Encode(part, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		p.t.Fatal(err)
	}
	form.Close()
	status, answer := p.call("POST", "/v2/chat_attachments.json", fmt.Sprint(user, ":t"), form.FormDataContentType(), body.String())
	if status != http.StatusOK {
		p.t.Fatal(status, answer)
	}
}

func countFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestErase uses only the API. All data of a user is erased and the user's sockets end. The
// other user's data stays.
func TestErase(t *testing.T) {
	s := newSite(t)
	files := t.TempDir()
	s.vars = append(s.vars, "KABAR_ATTACHMENTS_URL=file://"+files)
	p := s.serve()
	const erased = 660066
	p.user(erased)
	p.user(15)
	p.call("PUT", fmt.Sprintf("/v2/users/%d.json", erased), serviceKey, asJSON, `{"name":"Nama XYZZY"}`)
	p.device(erased, "ios", "PHONEXYZZY")
	p.device(15, "ios", "PHONE15")
	say := func(from, to int, body string) {
		t.Helper()
		text := fmt.Sprintf(`{"instant_message":{"receiver_id":%d,"category":0,"body_bb":%q}}`, to, body)
		if status, answer := p.call("POST", "/v2/messages.json", fmt.Sprint(from, ":t"), asJSON, text); status != 200 {
			t.Fatal(status, answer)
		}
	}
	p.upload(erased)
	s.sandbox.APNs.Fail(sandbox.AnyToken, 2, sandbox.Response{Reason: "PayloadEmpty"})
	p.publish(fmt.Sprintf(`{"id":"dead","type":"dompet","receiver_id":%d,"message":"dana XYZZY","details":{"id":1}}`, erased))
	say(erased, 15, "kata XYZZY")
	s.arrive("dead letters", func() bool { return strings.Count(s.must("", "dead", "list"), "PayloadEmpty") == 2 })
	s.sandbox.APNs.Fail(sandbox.AnyToken, 3, sandbox.Response{Reason: "ServiceUnavailable", RetryAfter: 10 * time.Minute})
	p.publish(fmt.Sprintf(`{"id":"delayed","type":"dompet","receiver_id":%d,"message":"dana XYZZY","details":{"id":1}}`, erased))
	say(erased, 15, "lagi XYZZY")
	say(15, erased, "jawaban")
	s.arrive("pushes", func() bool { return len(s.pushesTo("PHONE15")) >= 3 && len(s.pushesTo("PHONEXYZZY")) >= 4 })
	socket := p.dial(erased, "")
	socket.next("hello")
	_, ticket := p.call("POST", "/v2/live/ticket.json", fmt.Sprint(erased, ":t"), asJSON, "")

	if n, kept := countFiles(t, files), len(s.traces("XYZZY")); n == 0 || kept < 10 {
		t.Fatalf("%d files and %d traces before: the test proves little", n, kept)
	}
	status, answer := p.call("DELETE", fmt.Sprintf("/v2/users/%d.json", erased), serviceKey, asJSON, "")
	if status != 200 || answer["id"] != fmt.Sprint(erased) {
		t.Fatal(status, answer)
	}
	if _, code := socket.next("nothing"); code != 4001 {
		t.Errorf("the socket is closed with %d, want 4001", code)
	}
	for key, held := range s.traces("XYZZY", "xyzzy") {
		t.Errorf("%s holds %s", key, held)
	}
	own := map[string]bool{"meta": true, "live:revoked": true} // the tombstones of the user and of the sockets
	for key, held := range s.traces(fmt.Sprintf("u%d:", erased), fmt.Sprintf(":devices:%d", erased), fmt.Sprintf(":credential:%d", erased)) {
		if _, name, _ := strings.Cut(key, fmt.Sprintf("u%d:", erased)); !own[name] {
			t.Errorf("%s is left: %s", key, held)
		}
	}
	if n := countFiles(t, files); n > 0 {
		t.Errorf("%d files are left", n)
	}
	if status, _ := p.call("GET", "/v2/notifications/unreads.json", fmt.Sprint(erased, ":t"), "", ""); status != 401 {
		t.Errorf("the erased user signs in: %d", status)
	}
	address := fmt.Sprint(strings.Replace(p.url, "http", "ws", 1), "/v2/live?ticket=", ticket["ticket"])
	_, refused, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{Subprotocols: []string{"kabar.v1"}})
	if err == nil || refused == nil || refused.StatusCode != http.StatusUnauthorized {
		t.Errorf("the erased user's ticket: %v, %v", refused, err)
	}
	_, list := p.call("GET", "/v2/messages.json", "15:t", "", "")
	if last := list["inbox"].([]any)[0].(map[string]any); last["last_message"] != "jawaban" {
		t.Errorf("the partner's inbox: %v", list)
	}
	if status, answer := p.call("DELETE", "/v2/users/4711.json", serviceKey, asJSON, ""); status != 200 {
		t.Errorf("erasing an unknown user: %d %v", status, answer)
	}
}

func TestAudit(t *testing.T) {
	s := newSite(t)
	p := s.serve()
	p.user(66)
	p.publish(dompetEvent("one", 66))
	if out := s.must("", "audit"); strings.Count(out, "\n") != 1 {
		t.Errorf("audit of consistent data: %s", out)
	}
	rdb := redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	defer rdb.Close()
	for key := range s.traces(":u66:unread") {
		rdb.ZAdd(t.Context(), key, redis.Z{Score: 7, Member: "stray"})
	}
	for _, args := range [][]string{{"audit"}, {"audit", "66"}} {
		if out, err := s.kabar("", args...); err == nil || !strings.Contains(out, "stray") || !strings.Contains(out, "1 differences are left") {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	s.must("", "audit", "67")
	if out := s.must("", "audit", "66", "--repair"); !strings.Contains(out, "stray") {
		t.Errorf("repair: %s", out)
	}
	s.must("", "audit")
	if _, err := s.kabar("", "audit", "066"); err == nil {
		t.Error("audit of 066")
	}
}
