package signin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

// FuzzToken reads signed tokens. A good one has the claims of the one that was signed.
func FuzzToken(f *testing.F) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	j, err := NewJWT(JWTOptions{Secret: secret, Options: Options{Now: func() time.Time { return now }}})
	if err != nil {
		f.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, nil)
	if err != nil {
		f.Fatal(err)
	}
	var good time.Time // until when the good one is
	for _, c := range []map[string]any{
		{"sub": "66", "exp": now.Add(time.Hour).Unix(), "aud": []string{"kabar"}},
		{"sub": "66", "exp": 1e300},
		{"sub": 66, "exp": "soon"},
		{"sub": "066", "exp": now.Unix()},
	} {
		body, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		signed, err := signer.Sign(body)
		if err != nil {
			f.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			f.Fatal(err)
		}
		if j.verify(context.Background(), 66, token) == nil {
			_, good, _ = j.Claims(token) // it was verified
		}
		f.Add(token)
	}
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiI2NiIsImV4cCI6OTk5OTk5OTk5OX0.")
	f.Add(`{"payload":"","signatures":[]}`)
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		user, until, err := j.Claims(token)
		switch {
		case err == nil && user <= 0:
			t.Errorf("%q is user %d", token, user)
		case err != nil && !errors.Is(err, credentials.ErrUnauthorized):
			t.Errorf("%q: %v", token, err)
		case err != nil:
			return
		}
		err = j.verify(t.Context(), user, token)
		if err == nil && (user != 66 || !until.Equal(good)) {
			t.Errorf("%q is good", token)
		} else if err != nil && !errors.Is(err, credentials.ErrUnauthorized) {
			t.Errorf("%q: %v", token, err)
		}
	})
}

// FuzzUpstreamAnswer reads answers of an upstream. One that is no answer must neither sign
// in nor refuse.
func FuzzUpstreamAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"status":"OK","user_id":66,"user":{"id":"66"}}`, `{"status":"ERROR","message":"x"}`, `{"status":"OK","user_id":67}`, `{"status":1}`,
		`<html>`, `[]`, `null`, `{"status":"OK","user":null}`, `{"status":"OK","status":"ERROR"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := parseAnswer(body, 66)
		if err != nil && !errors.Is(err, credentials.ErrUnauthorized) && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%q: %v", body, err)
		}
		if err == nil && !strings.Contains(strings.ToLower(string(body)), "ok") && !strings.Contains(string(body), `\u`) {
			t.Errorf("%q signs in", body)
		}
	})
}
