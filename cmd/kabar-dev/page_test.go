package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A visitor is a client of a playground's page.
type visitor struct {
	t    *testing.T
	url  string // address of the page, without a trailing slash
	http http.Client
}

func visit(t *testing.T, g *game) *visitor {
	t.Helper()
	m := regexp.MustCompile(`page       (http://\S+)`).FindStringSubmatch(g.out.String())
	if m == nil {
		t.Fatalf("no page is printed:\n%s", g.out)
	}
	v := &visitor{t: t, url: m[1], http: http.Client{Transport: &http.Transport{}}}
	t.Cleanup(v.http.CloseIdleConnections)
	return v
}

// ask makes a request. The header fields are given as names and values in turn.
func (v *visitor) ask(ctx context.Context, method, path string, header ...string) *http.Response {
	v.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// answer makes a request and returns the status and the body.
func (v *visitor) answer(method, path string, header ...string) (int, string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), waitTimeout)
	defer cancel()
	resp := v.ask(ctx, method, path, header...)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// events reads the given number of server-sent events from the board.
func (v *visitor) events(ctx context.Context, many int, header ...string) (ids, data []string) {
	v.t.Helper()
	lines := bufio.NewScanner(v.ask(ctx, "GET", "/pushes", header...).Body)
	for len(data) < many && lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			ids = append(ids, id)
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = append(data, text)
		}
	}
	if len(data) < many {
		v.t.Fatalf("%d pushes, not %d: %v", len(data), many, lines.Err())
	}
	return ids, data
}

func TestPage(t *testing.T) {
	t.Parallel()
	g := launch(t, "--in-memory")
	v := visit(t, g)

	t.Run("files", func(t *testing.T) {
		err := fs.WalkDir(pageFiles, "page", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			status, body := v.answer("GET", strings.TrimPrefix(name, "page"))
			if status != http.StatusOK && !strings.HasSuffix(name, "/index.html") { // index.html is served at "/"
				t.Errorf("%s: %d", name, status)
			}
			for _, never := range []string{demoKey, "https://", "innerHTML", "document.write", " style=", " onclick="} {
				if strings.Contains(body, never) {
					t.Errorf("%s has %q", name, never)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		resp := v.ask(t.Context(), "GET", "/")
		if p := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != http.StatusOK || p != pagePolicy {
			t.Errorf("the page: %d, policy %q", resp.StatusCode, p)
		}
	})
	t.Run("setup", func(t *testing.T) {
		status, body := v.answer("GET", "/setup.json")
		want := `"samples":["discount","flash","offer","transaction"]`
		if status != http.StatusOK || !strings.Contains(body, want) || !strings.Contains(body, `"seller":{"id":66,"name":"Testing Account"`) {
			t.Errorf("setup %d %s", status, body)
		}
		for _, secret := range []string{demoKey, "demo-android-66", "demoiphone66"} {
			if strings.Contains(body, secret) {
				t.Errorf("the setup shows %s", secret)
			}
		}
	})
	t.Run("publish", func(t *testing.T) {
		status, body := v.answer("POST", "/publish/transaction")
		if status != http.StatusAccepted || !strings.Contains(body, `"duplicate":false`) {
			t.Errorf("publish %d %s", status, body)
		}
		g.out.wait(t, "│ Transaksi baru dari Liem Lie Wie", 2)
		for _, c := range []struct {
			method, path, site string
			want               int
		}{
			{"POST", "/publish/nothing", "same-origin", http.StatusNotFound},
			{"POST", "/publish/..%2fpeople", "same-origin", http.StatusNotFound},
			{"GET", "/publish/offer", "same-origin", http.StatusNotFound},
			{"POST", "/publish/offer", "cross-site", http.StatusForbidden},
			{"POST", "/v2/events.json", "same-origin", http.StatusUnauthorized}, // the page adds no key to this request
		} {
			if status, body := v.answer(c.method, c.path, "Sec-Fetch-Site", c.site); status != c.want {
				t.Errorf("%s %s from %s: %d, not %d: %s", c.method, c.path, c.site, status, c.want, body)
			}
		}
	})
	t.Run("pushes", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
		defer cancel()
		ids, data := v.events(ctx, 3)
		if !json.Valid([]byte(data[0])) || strings.Join(ids, " ") != "1 2 3" {
			t.Errorf("pushes %s %s", ids, data)
		}
		if ids, _ := v.events(ctx, 1, "Last-Event-ID", "2"); ids[0] != "3" {
			t.Errorf("after 2 comes %s", ids[0])
		}
	})
	t.Run("socket", func(t *testing.T) { pageSocket(t, v) })

	// An open stream or an open socket does not delay stopping.
	v.events(t.Context(), 1)
	v.dial(t, v.url)
	g.stop(t)
}

// dial opens a socket through the page, as a browser does on a site with the given origin.
func (v *visitor) dial(t *testing.T, origin string) (*websocket.Conn, *http.Response) {
	t.Helper()
	credentials := base64.StdEncoding.EncodeToString([]byte("15:tokenkeyiskmzwa8awaa"))
	status, body := v.answer("POST", "/v2/live/ticket.json", "Authorization", "Basic "+credentials)
	var issued struct{ Ticket string }
	if err := json.Unmarshal([]byte(body), &issued); err != nil || status != http.StatusOK {
		t.Fatalf("ticket: %d %s %v", status, body, err)
	}
	address := strings.Replace(v.url, "http", "ws", 1) + "/v2/live?ticket=" + issued.Ticket
	conn, resp, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{
		HTTPClient: &v.http, HTTPHeader: http.Header{"Origin": {origin}}, Subprotocols: []string{"kabar.v1"},
	})
	if err == nil {
		t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, resp
}

func pageSocket(t *testing.T, v *visitor) {
	conn, _ := v.dial(t, v.url)
	if conn == nil {
		t.Fatal("the page's own socket is refused")
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	_, hello, err := conn.Read(ctx)
	if err != nil || !strings.HasPrefix(string(hello), `{"op":"hello",`) {
		t.Errorf("first frame %s: %v", hello, err)
	}
	if conn, resp := v.dial(t, "http://elsewhere.example"); conn != nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("another site's socket is not refused: %v", resp)
	}
}
