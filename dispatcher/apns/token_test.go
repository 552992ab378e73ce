package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A clock is a clock that tests set.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newKey(t *testing.T, curve elliptic.Curve) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestSignerSigns(t *testing.T) {
	key, keyPEM := newKey(t, elliptic.P256())
	s, err := newSigner(keyPEM, "KEYID12345", "TEAMID1234", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.current()
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := strings.CutPrefix(token.header, "bearer ")
	if !ok {
		t.Fatalf("header %q", token.header)
	}
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(&key.PublicKey, &claims); err != nil {
		t.Fatal(err)
	}
	if kid := parsed.Headers[0].KeyID; kid != "KEYID12345" || claims.Issuer != "TEAMID1234" || claims.IssuedAt == nil || claims.IssuedAt.Time().Unix() != slotAt(now) {
		t.Errorf("key %q, claims %+v", kid, claims)
	}
}

func TestSignerRefusesBadKeys(t *testing.T) {
	_, good := newKey(t, elliptic.P256())
	_, other := newKey(t, elliptic.P384())
	for name, test := range map[string]struct {
		pem         []byte
		keyID, team string
	}{
		"no key":      {nil, "K", "T"},
		"no PEM":      {[]byte("hunter2"), "K", "T"},
		"wrong curve": {other, "K", "T"},
		"no key id":   {good, "", "T"},
		"no team":     {good, "K", ""},
	} {
		_, err := newSigner(test.pem, test.keyID, test.team, time.Now)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes the key", name)
		}
	}
}

// All processes use the same token, a new one every 40 minutes, never one of the future, and
// never an old one, although their clocks differ by some minutes.
func TestSignersAgree(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	var a, b clock
	start := now.Truncate(slot).Add(settle)
	a.t, b.t = start, start
	one, err := newSigner(keyPEM, "K", "T", a.now)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for passed := time.Duration(0); passed < 6*time.Hour; passed += time.Minute {
		a.t, b.t = start.Add(passed), start.Add(passed)
		two, err := newSigner(keyPEM, "K", "T", b.now) // it has just started
		if err != nil {
			t.Fatal(err)
		}
		first, _ := one.current()
		second, _ := two.current()
		if first != second {
			t.Fatalf("after %v: %+v and %+v", passed, first, second)
		}
		if age := first.age(a.t); age < settle || age >= slot+settle {
			t.Fatalf("after %v the token is %v old", passed, age)
		}
		seen[first.header] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d tokens in 6 hours, want 9", len(seen))
	}
}

// A refused token is replaced, by one issued now. Other pushes that were refused get the
// same, and it stays for 20 minutes at least, until the next slot's token is newer.
func TestSignerReplaces(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	start := now.Truncate(slot).Add(settle)
	c := &clock{start.Add(10 * time.Minute)}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	second, ok := s.replace(first)
	if !ok || second == first || second.age(c.t) != 0 {
		t.Fatalf("%+v replaced by %+v, %v", first, second, ok)
	}
	if again, ok := s.replace(first); !ok || again != second {
		t.Error("one refused token was replaced twice")
	}
	if _, ok := s.replace(second); ok {
		t.Error("a new token was replaced at once")
	}
	for _, passed := range []time.Duration{10, 29, 39} {
		c.t = start.Add(passed * time.Minute)
		if token, _ := s.current(); token != second {
			t.Errorf("another token after %d minutes", passed)
		}
	}
	c.t = start.Add(40 * time.Minute)
	if token, _ := s.current(); token == second || token.issued != slotAt(c.t) {
		t.Error("the next slot's token is not used")
	}
}

// A token renewed shortly before the end of a slot stays for 20 minutes. A second refusal
// replaces it after that.
func TestSignerReplacesAtMostEvery20Minutes(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	c := &clock{now.Truncate(slot).Add(settle + slot - 2*time.Minute)}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	second, _ := s.replace(first)
	for range 19 {
		c.t = c.t.Add(time.Minute)
		if token, _ := s.current(); token != second {
			t.Fatal("the token changed within 20 minutes")
		}
		if _, ok := s.replace(second); ok {
			t.Fatal("the token was replaced within 20 minutes")
		}
	}
	c.t = c.t.Add(time.Minute)
	if third, ok := s.replace(second); !ok || third == second {
		t.Error("the token was not replaced after 20 minutes")
	}
}

// A renewed token of the future is not used after the clock was set back.
func TestSignerAfterTheClockWasSetBack(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	c := &clock{now.Add(5 * time.Hour)}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	s.replace(first)
	c.t = now
	if token, err := s.current(); err != nil || token.issued != slotAt(now) {
		t.Errorf("%+v, %v", token, err)
	}
}

// When signing fails, the current token is used until it is an hour old.
func TestSignerOutlivesFailures(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	other, _ := newKey(t, elliptic.P384())
	c := &clock{now}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	s.key = other // cannot be used for ES256
	c.t = time.Unix(first.issued, 0).Add(59 * time.Minute)
	if token, err := s.current(); err != nil || token != first {
		t.Errorf("at 59 minutes: %v", err)
	}
	if _, ok := s.replace(first); ok {
		t.Error("replaced without a key")
	}
	c.t = time.Unix(first.issued, 0).Add(time.Hour)
	if _, err := s.current(); err == nil {
		t.Error("no error at an hour")
	}
}
