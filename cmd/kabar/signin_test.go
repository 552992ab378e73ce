package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const sharedSecret = "a secret of at least 32 bytes, shared with the issuer"

// signed returns a token that expires after the given time.
func signed(t *testing.T, user int, after time.Duration) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(sharedSecret)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.Claims{Subject: fmt.Sprint(user), Issuer: "pasar", Expiry: jwt.NewNumericDate(time.Now().Add(after))}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// With signed tokens, nobody has to tell Kabar about a user. A socket ends when the token
// that opened it expires.
func TestSignedTokens(t *testing.T) {
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_AUTH_MODE=jwt", "KABAR_AUTH_HS256_SECRET="+sharedSecret, "KABAR_AUTH_ISSUER=pasar")
	if out := s.must("", "doctor"); !strings.Contains(out, "✓ auth") {
		t.Errorf("doctor:\n%s", out)
	}
	p := s.serve()
	const unreads = "/v2/notifications/unreads.json"
	if status, answer := p.call("GET", unreads, signed(t, 66, time.Hour), "", ""); status != 200 {
		t.Fatal(status, answer)
	}
	if status, _ := p.call("GET", unreads, "66:"+signed(t, 66, time.Hour), "", ""); status != 200 {
		t.Error("as the password of Basic:", status)
	}
	if status, _ := p.call("GET", unreads, signed(t, 66, -time.Hour), "", ""); status != 401 {
		t.Error("expired:", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	open := func(token string) (*websocket.Conn, error) {
		ws, _, err := websocket.Dial(ctx, strings.Replace(p.url, "http", "ws", 1)+"/v2/live", &websocket.DialOptions{
			Subprotocols: []string{"kabar.v1"}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		})
		return ws, err
	}
	if _, err := open("x"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a socket without a token: %v", err)
	}
	// The leeway keeps this token valid for 2 s. The time is doubled for as long as signing
	// in takes too long.
	var ws *websocket.Conn
	err := errors.New("not opened")
	for left := 2 * time.Second; err != nil; left *= 2 {
		if ws, err = open(signed(t, 66, left-30*time.Second)); err != nil && left > time.Minute {
			t.Fatal(err)
		}
	}
	defer ws.CloseNow()
	for err == nil {
		_, _, err = ws.Read(ctx)
	}
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != 4001 {
		t.Errorf("closed with %v", err)
	}
	if err := p.term(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// With an upstream, the upstream decides who may sign in. While it is down, its last answer
// remains valid for some time.
func TestUpstream(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, token, _ := r.BasicAuth(); user != "66" || token != "t" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, `{"status":"OK","user":{"name":"Me Ow"},"message":null}`)
	}))
	defer upstream.Close()
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_AUTH_MODE=upstream", "KABAR_AUTH_UPSTREAM_URL="+upstream.URL+"/v2/users/info.json")
	if out := s.must("", "doctor"); !strings.Contains(out, "✓ auth") {
		t.Errorf("doctor:\n%s", out)
	}
	p := s.serve()
	p.device(66, "android", "A") // signs in as 66:t
	for auth, want := range map[string]int{"66:t": 200, "66:x": 401, "67:t": 401} {
		if status, answer := p.call("GET", "/v2/notifications/unreads.json", auth, "", ""); status != want {
			t.Errorf("%s: %d %v", auth, status, answer)
		}
	}
	upstream.Close()
	for auth, want := range map[string]int{"66:t": 200, "66:y": 503} {
		if status, answer := p.call("GET", "/v2/notifications/unreads.json", auth, "", ""); status != want {
			t.Errorf("%s while the upstream is away: %d %v", auth, status, answer)
		}
	}
	if out, err := s.kabar("", "doctor"); err == nil || !strings.Contains(out, "✗ auth") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
}

func TestServeRefusesKeysThatAreNone(t *testing.T) {
	s := newSite(t)
	name := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(name, []byte(`{"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.vars = append(s.vars, "KABAR_AUTH_MODE=jwt", "KABAR_AUTH_JWKS="+name)
	for _, command := range []string{"serve", "doctor"} {
		if out, err := s.kabar("", command); err == nil || !strings.Contains(out, "JWKS") {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}
