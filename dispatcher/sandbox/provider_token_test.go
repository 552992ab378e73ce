package sandbox_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/sideshow/apns2/token"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// sign makes a provider token.
func sign(t *testing.T, key *ecdsa.PrivateKey, keyID, teamID string, issued time.Time) string {
	t.Helper()
	return signWith(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: keyID}}, teamID, issued)
}

func signWith(t *testing.T, key jose.SigningKey, teamID string, issued time.Time) string {
	t.Helper()
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(jwt.Claims{Issuer: teamID, IssuedAt: jwt.NewNumericDate(issued)}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestProviderTokens(t *testing.T) {
	key, now := newKey(t), time.Now()
	s := start(t, sandbox.Options{
		History:     10,
		ProviderKey: &sandbox.ProviderKey{KeyID: "KEY", TeamID: "TEAM", PublicKey: &key.PublicKey},
	})
	good := sign(t, key, "KEY", "TEAM", now)
	hmac := signWith(t, jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: make([]byte, 32), KeyID: "KEY"}}, "TEAM", now)
	tampered := []byte(good)
	if at := len(tampered) - 10; tampered[at] == 'A' { // within the signature; the last digits may be "AA" by chance
		tampered[at] = 'B'
	} else {
		tampered[at] = 'A'
	}
	tests := []struct {
		name, authorization string
		status              int
		reason              string
	}{
		{"good", "bearer " + good, 200, ""},
		{"good again", "Bearer " + good, 200, ""},
		{"59 minutes old", "bearer " + sign(t, key, "KEY", "TEAM", now.Add(-59*time.Minute)), 200, ""},
		{"61 minutes old", "bearer " + sign(t, key, "KEY", "TEAM", now.Add(-61*time.Minute)), 403, "ExpiredProviderToken"},
		{"none", "", 403, "MissingProviderToken"},
		{"no bearer", "basic " + good, 403, "MissingProviderToken"},
		{"other key", "bearer " + sign(t, newKey(t), "KEY", "TEAM", now), 403, "InvalidProviderToken"},
		{"other key id", "bearer " + sign(t, key, "OTHER", "TEAM", now), 403, "InvalidProviderToken"},
		{"other team", "bearer " + sign(t, key, "KEY", "OTHER", now), 403, "InvalidProviderToken"},
		{"other algorithm", "bearer " + hmac, 403, "InvalidProviderToken"},
		{"tampered", "bearer " + string(tampered), 403, "InvalidProviderToken"},
		{"no JWT", "bearer x", 403, "InvalidProviderToken"},
		{"no base64", "bearer !.!.!", 403, "InvalidProviderToken"},
	}
	client := httpClient(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := map[string]string{"apns-topic": "a"}
			if tt.authorization != "" {
				header["authorization"] = tt.authorization
			}
			r := send(t, client, "POST", s.APNs.Endpoint()+"/3/device/a", header, `{}`)
			if r.status != tt.status || tt.reason != "" && string(r.body) != `{"reason":"`+tt.reason+`"}` {
				t.Errorf("answer is %d %s", r.status, r.body)
			}
		})
	}
	for _, p := range s.Pushes() {
		if p.Header.Get("Authorization") != "" {
			t.Error("a push shows the provider token")
		}
	}
}

// tokenFromFile loads a key in the way that users of the library do.
func tokenFromFile(t *testing.T, s *sandbox.Sandbox) *token.Token {
	t.Helper()
	file, keyID, teamID, err := s.APNs.WriteKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.AuthKeyFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return &token.Token{AuthKey: key, KeyID: keyID, TeamID: teamID}
}

func TestWriteKeyServesTheLibrary(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := apnsClient(t, s)
	push := func(want string) {
		t.Helper()
		got, err := client.PushWithContext(t.Context(), notification("a"))
		if err != nil {
			t.Fatal(err)
		}
		if got.Reason != want {
			t.Errorf("answer is %d %q, want %q", got.StatusCode, got.Reason, want)
		}
	}
	push("") // without a key, no token is required
	signed := tokenFromFile(t, s)
	push("MissingProviderToken")
	client.Token = signed
	push("")
	s.APNs.ExpireTokens()
	push("ExpiredProviderToken")
	signed.Generate()
	push("")
	client.Token = tokenFromFile(t, s) // a second key works as well
	push("")
}

func TestTokenUpdatesAreLimitedPerConnection(t *testing.T) {
	s := start(t, sandbox.Options{LimitTokenUpdates: true})
	signed := tokenFromFile(t, s)
	first, second := apnsClient(t, s), apnsClient(t, s)
	first.Token, second.Token = signed, signed
	steps := []struct {
		name   string
		before func()
		want   string
	}{
		{"first token", func() {}, ""},
		{"changed at once", func() { signed.Generate() }, "TooManyProviderTokenUpdates"},
		{"and again", func() {}, "TooManyProviderTokenUpdates"},
		{"on a new connection", func() { first.Token = nil; first = second }, ""},
		{"expired", s.APNs.ExpireTokens, "ExpiredProviderToken"},
		{"changed since it expired", func() { signed.Generate() }, ""},
	}
	for _, step := range steps {
		step.before()
		got, err := first.PushWithContext(t.Context(), notification("a"))
		if err != nil {
			t.Fatal(err)
		}
		if got.Reason != step.want {
			t.Errorf("%s: answer is %d %q, want %q", step.name, got.StatusCode, got.Reason, step.want)
		}
	}
}
