package signin

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

var secret = bytes.Repeat([]byte("s3cret"), 6)

// issuer returns private keys of every kind that the tests use.
var issuer = sync.OnceValue(func() (k struct {
	rsa, other, small *rsa.PrivateKey
	ec, ec384         *ecdsa.PrivateKey
	ed                ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	for key, bits := range map[**rsa.PrivateKey]int{&k.rsa: 2048, &k.other: 2048, &k.small: 1024} {
		*key, err = rsa.GenerateKey(rand.Reader, bits)
		must(err)
	}
	k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.ec384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// claim returns the claims of a valid token of Ani's, with changes. A nil value removes a
// claim.
func claim(o *backend, changes map[string]any) map[string]any {
	all := map[string]any{"sub": "66", "exp": o.now.Add(time.Hour).Unix(), "iss": "https://pasar.test", "aud": []string{"kabar", "web"}}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// sign returns a signed token. Its kid is id; there is none when id is empty.
func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, id string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	check(t, err)
	body, err := json.Marshal(claims)
	check(t, err)
	signed, err := signer.Sign(body)
	check(t, err)
	token, err := signed.CompactSerialize()
	check(t, err)
	return token
}

// forge returns a token with a given header and an arbitrary signature.
func forge(t *testing.T, header string, claims map[string]any, signature string) string {
	t.Helper()
	body, err := json.Marshal(claims)
	check(t, err)
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(header)) + "." + enc(body) + "." + enc([]byte(signature))
}

// public returns a JWKS with the public keys.
func public(t *testing.T, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	document, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	check(t, err)
	return document
}

func key(id string, k crypto.Signer) jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: id, Use: "sig"}
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "jwks.json")
	check(t, os.WriteFile(name, data, 0o600))
	return name
}

func newJWT(t *testing.T, o JWTOptions) *JWT {
	t.Helper()
	j, err := NewJWT(o)
	check(t, err)
	t.Cleanup(func() { check(t, j.Close()) })
	return j
}

func wantToken(t *testing.T, j *JWT, token string, want error) {
	t.Helper()
	err := j.Authenticate(t.Context(), ani, token, home)
	if !is(err, want) {
		t.Errorf("signed in: %v, want %v", err, want)
	}
	if err != nil && token != "" && strings.Contains(err.Error(), token) {
		t.Errorf("the error shows the token: %v", err)
	}
}

// The claims must be valid, whoever has signed them.
func TestClaims(t *testing.T) {
	o := newBackend()
	no := credentials.ErrUnauthorized
	strict := JWTOptions{Options: o.options(), Secret: secret, Issuer: "https://pasar.test", Audience: "kabar"}
	lax := JWTOptions{Options: o.options(), Secret: secret}
	at := func(d time.Duration) int64 { return o.now.Add(d).Unix() }
	for name, tc := range map[string]struct {
		changes     map[string]any
		strict, lax error
	}{
		"all right":           {nil, nil, nil},
		"expired":             {map[string]any{"exp": at(-Leeway - time.Second)}, no, no},
		"expired just now":    {map[string]any{"exp": at(-Leeway)}, nil, nil},
		"without end":         {map[string]any{"exp": nil}, no, no},
		"an odd end":          {map[string]any{"exp": "tomorrow"}, no, no},
		"not yet":             {map[string]any{"nbf": at(Leeway + time.Second)}, no, no},
		"very soon":           {map[string]any{"nbf": at(Leeway)}, nil, nil},
		"issued in future":    {map[string]any{"iat": at(time.Hour)}, no, no},
		"another issuer":      {map[string]any{"iss": "https://pasar.example"}, no, nil},
		"no issuer":           {map[string]any{"iss": nil}, no, nil},
		"another audience":    {map[string]any{"aud": "web"}, no, nil},
		"one audience":        {map[string]any{"aud": "kabar"}, nil, nil},
		"no audience":         {map[string]any{"aud": nil}, no, nil},
		"another user":        {map[string]any{"sub": "67"}, no, no},
		"no user":             {map[string]any{"sub": nil}, no, no},
		"a user with a zero":  {map[string]any{"sub": "066"}, no, no},
		"a user as a number":  {map[string]any{"sub": 66}, no, no},
		"a user and a letter": {map[string]any{"sub": "66a"}, no, no},
	} {
		t.Run(name, func(t *testing.T) {
			token := sign(t, jose.HS256, secret, "", claim(o, tc.changes))
			clear(o.failures)
			wantToken(t, newJWT(t, strict), token, tc.strict)
			wantToken(t, newJWT(t, lax), token, tc.lax)
		})
	}
}

// TestSignatures checks which signatures are accepted, with a shared secret and with public
// keys.
func TestSignatures(t *testing.T) {
	o, k := newBackend(), issuer()
	no := credentials.ErrUnauthorized
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	check(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwks := file(t, public(t, key("rsa", k.rsa), key("ec", k.ec), key("ed", k.ed), key("small", k.small), key("p384", k.ec384),
		jose.JSONWebKey{Key: k.other.Public(), KeyID: "pss", Algorithm: "PS256"},
		jose.JSONWebKey{Key: k.other.Public(), KeyID: "enc", Use: "enc"},
		jose.JSONWebKey{Key: secret, KeyID: "oct"},
		jose.JSONWebKey{Key: k.other, KeyID: "private"}))
	good := claim(o, nil)
	hs := sign(t, jose.HS256, secret, "", good)
	rs := sign(t, jose.RS256, k.rsa, "rsa", good)
	parts := strings.Split(rs, ".")
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k.other}, &jose.SignerOptions{EmbedJWK: true})
	check(t, err)
	signed, err := embedded.Sign([]byte(`{"sub":"66","exp":4102444800}`))
	check(t, err)
	own, err := signed.CompactSerialize()
	check(t, err)
	for name, tc := range map[string]struct {
		token        string
		shared, keys error
	}{
		"HS256":                         {hs, nil, no},
		"HS256, another secret":         {sign(t, jose.HS256, bytes.Repeat([]byte("x"), 32), "", good), no, no},
		"HS384":                         {sign(t, jose.HS384, bytes.Repeat(secret, 2), "", good), no, no},
		"HS512 of the secret":           {sign(t, jose.HS512, bytes.Repeat(secret, 2), "", good), no, no},
		"HS256 of the public key":       {sign(t, jose.HS256, publicPEM, "rsa", good), no, no},
		"HS256 of the public key (DER)": {sign(t, jose.HS256, der, "rsa", good), no, no},
		"HS256 of a secret in the JWKS": {sign(t, jose.HS256, secret, "oct", good), nil, no},
		"RS256":                         {rs, no, nil},
		"PS256":                         {sign(t, jose.PS256, k.rsa, "rsa", good), no, nil},
		"ES256":                         {sign(t, jose.ES256, k.ec, "ec", good), no, nil},
		"EdDSA":                         {sign(t, jose.EdDSA, k.ed, "ed", good), no, nil},
		"no kid, one key fits":          {sign(t, jose.ES256, k.ec, "", good), no, nil},
		"no kid, several keys fit":      {sign(t, jose.PS256, k.rsa, "", good), no, no},
		"RS512":                         {sign(t, jose.RS512, k.rsa, "rsa", good), no, no},
		"ES384":                         {sign(t, jose.ES384, k.ec384, "p384", good), no, no},
		"a key of 1,024 bits":           {sign(t, jose.RS256, k.small, "small", good), no, no},
		"a key for something else":      {sign(t, jose.RS256, k.other, "enc", good), no, no},
		"a key for PS256":               {sign(t, jose.PS256, k.other, "pss", good), no, nil},
		"a key for PS256, with RS256":   {sign(t, jose.RS256, k.other, "pss", good), no, no},
		"a private key in the JWKS":     {sign(t, jose.RS256, k.other, "private", good), no, no},
		"another key under our kid":     {sign(t, jose.RS256, k.other, "rsa", good), no, no},
		"a kid of another kind":         {sign(t, jose.ES256, k.ec, "rsa", good), no, no},
		"an unknown kid":                {sign(t, jose.RS256, k.rsa, "new", good), no, no},
		"a key of its own":              {own, no, no},
		"none":                          {forge(t, `{"alg":"none"}`, good, ""), no, no},
		"None":                          {forge(t, `{"alg":"None","kid":"rsa"}`, good, ""), no, no},
		"no alg":                        {forge(t, `{"typ":"JWT"}`, good, ""), no, no},
		"no signature":                  {parts[0] + "." + parts[1] + ".", no, no},
		"without the signature's part":  {parts[0] + "." + parts[1], no, no},
		"RS256, called HS256":           {forge(t, `{"alg":"HS256","kid":"rsa"}`, good, "x"), no, no},
		"other claims":                  {parts[0] + "." + strings.Split(forge(t, "{}", claim(o, map[string]any{"admin": true}), ""), ".")[1] + "." + parts[2], no, no},
		"a critical header":             {forge(t, `{"alg":"RS256","kid":"rsa","crit":["x"],"x":1}`, good, "x"), no, no},
		"JSON":                          {signed.FullSerialize(), no, no},
		"no token":                      {"tok3ntok3n", no, no},
		"nothing":                       {"", no, no},
		"dots":                          {"..", no, no},
	} {
		t.Run(name, func(t *testing.T) {
			clear(o.failures)
			wantToken(t, newJWT(t, JWTOptions{Options: o.options(), Secret: secret}), tc.token, tc.shared)
			wantToken(t, newJWT(t, JWTOptions{Options: o.options(), JWKS: jwks}), tc.token, tc.keys)
		})
	}
}

// Failures are limited. A valid token is still accepted.
func TestJWTLimitsFailures(t *testing.T) {
	o := newBackend()
	j := newJWT(t, JWTOptions{Options: o.options(), Secret: secret})
	good := sign(t, jose.HS256, secret, "", claim(o, nil))
	forged := sign(t, jose.HS256, bytes.Repeat([]byte("x"), 32), "", claim(o, nil))
	for range 3 {
		wantToken(t, j, forged, credentials.ErrUnauthorized)
	}
	wantToken(t, j, forged, errLocked)
	wantToken(t, j, good, nil)
	if o.counted(ani, home) != 3 || o.added[ani] != 1 {
		t.Errorf("failures %v, added %v", o.failures, o.added)
	}
	o.pass(time.Hour + Leeway + time.Second)
	wantToken(t, j, good, errLocked) // the token has expired
	o.addErr = errors.New("Redis is away")
	wantToken(t, j, sign(t, jose.HS256, secret, "", claim(o, nil)), o.addErr)
}

func TestTokensSayWhoseTheyAre(t *testing.T) {
	o := newBackend()
	j := newJWT(t, JWTOptions{Options: o.options(), Secret: secret})
	user, until, err := j.Claims(sign(t, jose.HS256, secret, "", claim(o, nil)))
	if user != ani || !until.Equal(o.now.Add(time.Hour+Leeway)) || err != nil {
		t.Errorf("%d until %v: %v", user, until, err)
	}
	for _, bad := range []string{"", "x", sign(t, jose.HS384, bytes.Repeat(secret, 2), "", claim(o, nil)),
		sign(t, jose.HS256, secret, "", claim(o, map[string]any{"sub": "ani"})),
		sign(t, jose.HS256, secret, "", claim(o, map[string]any{"exp": nil}))} {
		if user, until, err := j.Claims(bad); user != 0 || !until.IsZero() || !errors.Is(err, credentials.ErrUnauthorized) {
			t.Errorf("%q: %d until %v: %v", bad, user, until, err)
		}
	}
}

func TestJWTOptions(t *testing.T) {
	k := issuer()
	for name, o := range map[string]JWTOptions{
		"neither":          {},
		"both":             {Secret: secret, JWKS: file(t, public(t, key("rsa", k.rsa)))},
		"no such file":     {JWKS: "none.json"},
		"no JSON":          {JWKS: file(t, []byte("-----BEGIN"))},
		"no set":           {JWKS: file(t, []byte(`{"kty":"RSA"}`))},
		"only secret keys": {JWKS: file(t, public(t, jose.JSONWebKey{Key: secret}))},
		"a huge file":      {JWKS: file(t, bytes.Repeat([]byte(" "), maxBody+1))},
		"no URL":           {JWKS: "https://%zz"},
	} {
		if _, err := NewJWT(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
