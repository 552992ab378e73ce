package apns

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/sideshow/apns2/token"
)

// APNs rejects provider tokens older than 60 minutes, and answers
// TooManyProviderTokenUpdates when tokens change within 20 minutes ("Establishing a
// token-based connection to APNs"). It does not say whether it counts by connection or by
// key. So all processes sign the same tokens, without talking to each other: each token is
// issued at the begin of a slot of time that everyone knows, and signatures are
// deterministic (RFC 6979).
const (
	// slot is how long all use one token. Slots begin at multiples of it since 1970.
	slot = 40 * time.Minute
	// settle is how much later than its begin a slot's token is first used, and so how far
	// a clock may be ahead: APNs rejects tokens of the future. At its end the token is
	// slot + settle old, so that a clock may be 15 minutes behind.
	settle = 5 * time.Minute
	// minAge is the least age of a renewed token that is replaced.
	minAge = 20 * time.Minute
	maxAge = 60 * time.Minute
)

// A signer signs the provider token that all lanes use, and renews it before it expires.
// It is safe for concurrent use.
//
// The SDK's token does not suffice: it hides failed signatures, differs between processes,
// and cannot be replaced when APNs refuses it.
type signer struct {
	key           *ecdsa.PrivateKey
	keyID, teamID string
	now           func() time.Time

	mu    sync.Mutex
	token providerToken
	// renewed is the token that took the place of one that APNs refused; empty without one.
	renewed providerToken
}

// A providerToken is a JSON Web Token that authenticates our requests.
type providerToken struct {
	header string // the value of the Authorization header
	issued int64  // Unix time of the claim iat
}

// age returns the age of the token by the wall clock, which goes on while the machine
// sleeps. It is negative after the clock was set back.
func (t providerToken) age(now time.Time) time.Duration {
	return time.Duration(now.Unix()-t.issued) * time.Second
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
	_, err = s.current()
	return s, err
}

// slotAt returns the Unix time at which the token to use at a time was issued.
func slotAt(now time.Time) int64 {
	const seconds = int64(slot / time.Second)
	at := now.Add(-settle).Unix()
	return at - at%seconds
}

// current returns the token to use. It fails if the former one has expired and no new one
// can be signed.
func (s *signer) current() (providerToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	issued := slotAt(now)
	if s.renewed.header != "" {
		if age := s.renewed.age(now); age >= 0 && (age < minAge || issued <= s.renewed.issued) {
			return s.renewed, nil
		}
		s.renewed = providerToken{}
	}
	if s.token.issued == issued {
		return s.token, nil
	}
	fresh, err := s.sign(issued)
	if err == nil {
		s.token = fresh
	} else if age := s.token.age(now); age >= 0 && age < maxAge {
		err = nil // the old one is still valid
	}
	return s.token, err
}

// replace returns the successor of a token that APNs refused: one that this process issues
// now. It returns false if the token is itself such a one and younger than 20 minutes, which
// means that the key or a clock is wrong and a new token would not help, or if signing fails.
func (s *signer) replace(refused providerToken) (providerToken, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.renewed.header != "" {
		if s.renewed.header != refused.header {
			return s.renewed, true // another push has replaced it
		}
		if age := s.renewed.age(now); age >= 0 && age < minAge {
			return s.renewed, false
		}
	}
	fresh, err := s.sign(now.Truncate(time.Minute).Unix()) // the same for all that renew at once
	if err != nil || fresh.header == refused.header {
		return refused, false
	}
	s.renewed = fresh
	return fresh, true
}

// sign returns the token issued at a Unix time. It is always the same one for the same key,
// ids and time.
func (s *signer) sign(issued int64) (providerToken, error) {
	if s.key.Curve != elliptic.P256() {
		return providerToken{}, errors.New("sign: the key is not of the curve P-256")
	}
	header, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
		Typ string `json:"typ"`
	}{"ES256", s.keyID, "JWT"})
	if err != nil {
		return providerToken{}, fmt.Errorf("sign: %w", err)
	}
	claims, err := json.Marshal(struct {
		Iss string `json:"iss"`
		Iat int64  `json:"iat"`
	}{s.teamID, issued})
	if err != nil {
		return providerToken{}, fmt.Errorf("sign: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(text))
	der, err := s.key.Sign(nil, digest[:], crypto.SHA256) // without random numbers: RFC 6979
	if err != nil {
		return providerToken{}, fmt.Errorf("sign: %w", err)
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &point); err != nil {
		return providerToken{}, fmt.Errorf("sign: %w", err)
	}
	signature := make([]byte, 64) // r and s, 32 bytes each (RFC 7518, section 3.4)
	point.R.FillBytes(signature[:32])
	point.S.FillBytes(signature[32:])
	return providerToken{header: "bearer " + text + "." + base64.RawURLEncoding.EncodeToString(signature), issued: issued}, nil
}
