package apns

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/sideshow/apns2/token"
)

// Apple takes provider tokens that are at most an hour old, and takes offence at
// new ones that come within 20 minutes ("Establishing a token-based connection to
// APNs").
const (
	renewAfter = 50 * time.Minute
	renewLeast = 20 * time.Minute
	renewMost  = 60 * time.Minute
)

// A signer keeps one provider token for all lanes, signs it anew in time, and
// never too often. It is safe for concurrent use.
//
// The SDK could do that too, but it hides a signature that failed and cannot be
// told that APNs thinks differently of a token's age.
type signer struct {
	key           *ecdsa.PrivateKey
	keyID, teamID string
	now           func() time.Time

	mu    sync.Mutex
	token providerToken
}

// A providerToken is what we show to APNs.
type providerToken struct {
	header   string // the value of the Authorization header
	signedAt time.Time
}

// age returns how old the token is at now. A machine that slept does not count
// in the monotonic clock, and one whose clock was set does not in the other.
func (t providerToken) age(now time.Time) time.Duration {
	return max(now.Sub(t.signedAt), now.Round(0).Sub(t.signedAt.Round(0)))
}

// newSigner returns a signer that has signed its first token.
func newSigner(keyPEM []byte, keyID, teamID string, now func() time.Time) (*signer, error) {
	key, err := token.AuthKeyFromBytes(keyPEM)
	if err != nil {
		return nil, err
	}
	if keyID == "" || teamID == "" {
		return nil, errors.New("the key's id or the team's is missing")
	}
	s := &signer{key: key, keyID: keyID, teamID: teamID, now: now}
	s.token, err = s.sign()
	return s, err
}

// current returns the token to use now.
func (s *signer) current() (providerToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.token.age(s.now())
	if age < renewAfter {
		return s.token, nil
	}
	fresh, err := s.sign()
	if err == nil {
		s.token = fresh
	} else if age < renewMost {
		err = nil // the old one does for a while
	}
	return s.token, err
}

// replace returns the token that takes the place of one that APNs called
// expired, and false when there cannot be one: a token younger than 20 minutes
// that has expired means a wrong clock, which another token does not cure.
func (s *signer) replace(expired providerToken) (providerToken, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.header != expired.header {
		return s.token, true // replaced already, for another push
	}
	if s.token.age(s.now()) < renewLeast {
		return s.token, false
	}
	fresh, err := s.sign()
	if err != nil {
		return s.token, false
	}
	s.token = fresh
	return fresh, true
}

// sign makes a token of now.
func (s *signer) sign() (providerToken, error) {
	now := s.now()
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.keyID}}
	es256, err := jose.NewSigner(key, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return providerToken{}, fmt.Errorf("sign: %w", err)
	}
	signed, err := jwt.Signed(es256).Claims(jwt.Claims{Issuer: s.teamID, IssuedAt: jwt.NewNumericDate(now)}).Serialize()
	if err != nil {
		return providerToken{}, fmt.Errorf("sign: %w", err)
	}
	return providerToken{header: "bearer " + signed, signedAt: now}, nil
}
