package api

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/cmd/internal/edge"
)

// Behind a proxy, the wrong guesses of a stranger lock nobody else out, and a stranger who
// claims to be somebody else is still the stranger.
func TestGuessesBehindAProxy(t *testing.T) {
	w := newWorld(t, nil)
	w.options.Proxies = edge.Proxies{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Header: "X-Forwarded-For"}
	w.options.Metrics = nil
	h := New(w.options)
	from := func(forwarded, token string) int {
		r := httptest.NewRequest("GET", unreadsPath, nil) // from 192.0.2.1, the proxy
		r.Header.Set("X-Forwarded-For", forwarded)
		r.SetBasicAuth("66", token)
		return serve(h, r).status
	}
	for range 4 { // one more than are allowed
		from("203.0.113.5, 198.51.100.7", "wrong")
	}
	for forwarded, want := range map[string]int{
		"198.51.100.7":                      429,
		"198.51.100.8, 198.51.100.7":        429, // what a client says of itself does not count
		"198.51.100.7, 192.0.2.9":           429, // through two proxies of ours
		"203.0.113.5":                       401,
		"198.51.100.7, 203.0.113.5":         401,
		"2001:db8:0:1::1":                   401,
		"198.51.100.7, 2001:db8:0:1::1":     401,
		"[2001:db8:0:2::1]:4711, 192.0.2.9": 401,
	} {
		if got := from(forwarded, "wrong"); got != want {
			t.Errorf("a guess from %s: %d, want %d", forwarded, got, want)
		}
	}
	for range 4 {
		from("2001:db8:0:3::1", "wrong")
	}
	for forwarded, want := range map[string]int{"2001:db8:0:3:ffff::2": 429, "2001:db8:0:4::1": 401} {
		if got := from(forwarded, "wrong"); got != want {
			t.Errorf("a guess from %s: %d, want %d", forwarded, got, want)
		}
	}
	if got := from("203.0.113.5", "tok3ntok3n"); got != 200 {
		t.Errorf("the user is locked out: %d", got)
	}
}

// HEAD is answered as GET is, without a body and without its effects.
func TestHead(t *testing.T) {
	w := newWorld(t, nil)
	w.say(budi, "66", "halo")
	conversation := "/v2/messages/" + anisAndBudis + ".json"
	for _, path := range []string{unreadsPath, "/v2/notifications/list.json", messagesPath, conversation, "/openapi.json", "/v2/messages/emoticons.json", "/v2/nothing"} {
		head := w.do(call{method: "HEAD", path: path, auth: ani})
		if path == conversation {
			w.must(w.get(messagesPath+"?filter=unread"), 200)
			if unread := w.get(unreadsPath); !strings.Contains(unread.body, `"messages":1`) {
				t.Errorf("HEAD has marked the messages as read: %s", unread.body)
			}
		}
		get := w.get(path)
		if head.status != get.status || head.body != "" {
			t.Errorf("%s: HEAD %d %q, GET %d", path, head.status, head.body, get.status)
		}
		for _, name := range []string{"Content-Type", "Content-Length", "ETag"} {
			if path != conversation && head.header.Get(name) != get.header.Get(name) {
				t.Errorf("%s: %s of HEAD is %q, of GET %q", path, name, head.header.Get(name), get.header.Get(name))
			}
		}
	}
}

func TestConnectionThatIsTooMany(t *testing.T) {
	a := newAPI(Options{Credentials: fakeCredentials{}, Publisher: fakePublisher{}})
	got := serve(a.entrance.refuse, httptest.NewRequest("GET", unreadsPath, nil))
	e := got.envelope(t)
	if got.status != http.StatusTooManyRequests || e.Code != rateLimited || e.Errors["connections"] == "" ||
		got.header.Get("Retry-After") == "" || got.header.Get("Connection") != "close" {
		t.Errorf("%d %s %v", got.status, got.body, got.header)
	}
}

// Who has not signed in cannot keep a connection busy by not sending the body.
func TestFailuresDoNotWaitForTheBody(t *testing.T) {
	w := newWorld(t, nil)
	conn, err := net.Dial("tcp", w.server.Listener.Addr().String())
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = fmt.Fprint(conn, "POST "+messagesPath+" HTTP/1.1\r\nHost: kabar\r\nContent-Length: 1000\r\n\r\n")
	check(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("status %d", resp.StatusCode)
	}
}
