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
	if kid := parsed.Headers[0].KeyID; kid != "KEYID12345" || claims.Issuer != "TEAMID1234" || claims.IssuedAt == nil || !claims.IssuedAt.Time().Equal(now) {
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

func TestSignerRenewsInTime(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	c := &clock{now}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	for age := time.Duration(0); age < 50*time.Minute; age += time.Minute {
		c.t = now.Add(age)
		if token, _ := s.current(); token != first {
			t.Fatalf("signed anew after %v", age)
		}
	}
	c.t = now.Add(50 * time.Minute)
	if token, _ := s.current(); token == first {
		t.Error("still the first token after 50 minutes")
	}
}

func TestSignerReplaces(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	c := &clock{now}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	c.t = now.Add(20*time.Minute - time.Second)
	if _, ok := s.replace(first); ok {
		t.Error("a young token was replaced")
	}
	c.t = now.Add(20 * time.Minute)
	second, ok := s.replace(first)
	if !ok || second == first {
		t.Error("an old token was not replaced")
	}
	// Other pushes that were sent with the first token get the same second token.
	if again, ok := s.replace(first); !ok || again != second {
		t.Error("one expired token was replaced twice")
	}
	if _, ok := s.replace(second); ok {
		t.Error("a new token was replaced at once")
	}
}

// When signing fails, the current token is used until it is an hour old.
func TestSignerOutlivesFailures(t *testing.T) {
	_, keyPEM := newKey(t, elliptic.P256())
	_, other := newKey(t, elliptic.P384())
	c := &clock{now}
	s, err := newSigner(keyPEM, "K", "T", c.now)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := s.current()
	block, _ := pem.Decode(other)
	key, _ := x509.ParsePKCS8PrivateKey(block.Bytes)
	s.key = key.(*ecdsa.PrivateKey) // cannot be used for ES256
	c.t = now.Add(55 * time.Minute)
	if token, err := s.current(); err != nil || token != first {
		t.Errorf("at 55 minutes: %v", err)
	}
	if _, ok := s.replace(first); ok {
		t.Error("replaced without a key")
	}
	c.t = now.Add(time.Hour)
	if _, err := s.current(); err == nil {
		t.Error("no error at an hour")
	}
}

// A token's age includes the time in which the machine slept. The monotonic clock does not.
func TestAgeCountsSleep(t *testing.T) {
	signed := time.Now()
	woken := signed.Add(time.Minute) // advances both the wall clock and the monotonic clock
	asleep := woken.Round(0).Add(2 * time.Hour)
	if age := (providerToken{signedAt: signed}).age(woken); age != time.Minute {
		t.Errorf("age %v", age)
	}
	if age := (providerToken{signedAt: signed}).age(asleep); age < 2*time.Hour {
		t.Errorf("age %v after two hours of sleep", age)
	}
}
