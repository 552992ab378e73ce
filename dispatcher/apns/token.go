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

// APNs rejects provider tokens older than 60 minutes, and answers
// TooManyProviderTokenUpdates when a connection's token changes within 20 minutes
// ("Establishing a token-based connection to APNs").
const (
	renewAfter = 50 * time.Minute
	minAge     = 20 * time.Minute // of a token that is replaced
	maxAge     = 60 * time.Minute
)

// A signer signs the provider token that all lanes use, and renews it before it expires.
// It is safe for concurrent use.
//
// The SDK's token does not suffice: it hides failed signatures, and cannot be replaced
// when APNs calls it expired.
type signer struct {
	key           *ecdsa.PrivateKey
	keyID, teamID string
	now           func() time.Time

	mu    sync.Mutex
	token providerToken
}

// A providerToken is a JSON Web Token that authenticates our requests.
type providerToken struct {
	header   string // the value of the Authorization header
	signedAt time.Time
}

// age returns the age of the token. It is the larger one of the monotonic clock's, which
// stops while the machine sleeps, and of the wall clock's, which may have been set back.
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
		return nil, errors.New("the key id or the team id is missing")
	}
	s := &signer{key: key, keyID: keyID, teamID: teamID, now: now}
	s.token, err = s.sign()
	return s, err
}

// current returns the token to use, renewed if needed. It fails if the token has expired
// and no new one can be signed.
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
	} else if age < maxAge {
		err = nil // the old one is still valid
	}
	return s.token, err
}

// replace returns the successor of a token that APNs called expired. It returns false if
// the token is younger than 20 minutes, which means that a clock is wrong and a new token
// would not help, or if signing fails.
func (s *signer) replace(expired providerToken) (providerToken, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.header != expired.header {
		return s.token, true // another push has replaced it
	}
	if s.token.age(s.now()) < minAge {
		return s.token, false
	}
	fresh, err := s.sign()
	if err != nil {
		return s.token, false
	}
	s.token = fresh
	return fresh, true
}

// sign returns a token issued now.
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
