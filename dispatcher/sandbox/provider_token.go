package sandbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// maxTokenAge is the age at which a provider token expires, and minTokenUpdate the
	// minimum time between two changes of a connection's token ("Establishing a
	// token-based connection to APNs").
	maxTokenAge    = time.Hour
	minTokenUpdate = 20 * time.Minute
	// maxVerified bounds the cache of verified tokens.
	maxVerified = 1024
)

// A ProviderKey verifies the provider tokens of one team.
type ProviderKey struct {
	// KeyID and TeamID must be the kid and iss of tokens.
	KeyID, TeamID string
	// PublicKey verifies the tokens' signatures. Its curve is P-256.
	PublicKey *ecdsa.PublicKey
}

// A verifier checks provider tokens: JSON Web Tokens signed with ES256.
type verifier struct {
	limitUpdates bool
	now          func() time.Time

	mu       sync.Mutex
	keys     map[string]*ProviderKey // by KeyID; if empty, no token is required
	verified map[string]*providerToken
}

// A providerToken is a token whose signature has been verified.
type providerToken struct {
	issued  time.Time
	expired bool // by expireAll
}

func newVerifier(key *ProviderKey, limitUpdates bool) *verifier {
	v := &verifier{
		limitUpdates: limitUpdates,
		now:          time.Now,
		keys:         make(map[string]*ProviderKey),
		verified:     make(map[string]*providerToken),
	}
	if key != nil {
		v.keys[key.KeyID] = key
	}
	return v
}

// check returns the reason for which APNs refuses an Authorization header, or "". ctx is
// the request's.
func (v *verifier) check(ctx context.Context, authorization string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.keys) == 0 {
		return ""
	}
	scheme, bearer, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") || bearer == "" {
		return "MissingProviderToken"
	}
	token := v.find(bearer)
	if token == nil {
		return "InvalidProviderToken"
	}
	use := &connectionOf(ctx).token
	if token.expired || v.now().Sub(token.issued) > maxTokenAge {
		*use = tokenUse{} // the next token is not an early update
		return "ExpiredProviderToken"
	}
	if v.limitUpdates && !use.update(bearer, v.now()) {
		return "TooManyProviderTokenUpdates"
	}
	return ""
}

// find returns the verified token, or nil if its signature is invalid. The caller holds the
// lock.
func (v *verifier) find(bearer string) *providerToken {
	if token := v.verified[bearer]; token != nil {
		return token
	}
	token := v.verify(bearer)
	if token == nil {
		return nil
	}
	if len(v.verified) >= maxVerified {
		clear(v.verified)
	}
	v.verified[bearer] = token
	return token
}

// verify parses a token and verifies its signature. It returns nil for an invalid one.
func (v *verifier) verify(bearer string) *providerToken {
	parts := strings.Split(bearer, ".")
	if len(parts) != 3 {
		return nil
	}
	var header struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}
	var claims struct {
		Iss string `json:"iss"`
		Iat int64  `json:"iat"`
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return nil
	}
	key := v.keys[header.Kid]
	if header.Alg != "ES256" || key == nil || key.TeamID != claims.Iss {
		return nil
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key.PublicKey, digest[:], r, s) {
		return nil
	}
	return &providerToken{issued: time.Unix(claims.Iat, 0)}
}

// decodePart decodes the base64 and the JSON of a part of a token.
func decodePart(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}

func (v *verifier) expireAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, token := range v.verified {
		token.expired = true
	}
}

func (v *verifier) writeKey(dir string) (keyFile, keyID, teamID string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", "", err
	}
	keyID, teamID = rand.Text()[:10], rand.Text()[:10]
	keyFile = filepath.Join(dir, "AuthKey_"+keyID+".p8")
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(keyFile, block, 0o600); err != nil {
		return "", "", "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys[keyID] = &ProviderKey{KeyID: keyID, TeamID: teamID, PublicKey: &key.PublicKey}
	return keyFile, keyID, teamID, nil
}

// A tokenUse is the provider token of a connection, and when it was first used. The
// verifier's lock guards it.
type tokenUse struct {
	bearer string
	since  time.Time
}

// update stores the token of a request, or returns false if the last change is too recent.
func (u *tokenUse) update(bearer string, now time.Time) bool {
	if u.bearer == bearer {
		return true
	}
	if u.bearer != "" && now.Sub(u.since) < minTokenUpdate {
		return false
	}
	u.bearer, u.since = bearer, now
	return true
}
