package sandbox

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tokenPath is the path of the token endpoint, which is on FCM's port.
	tokenPath = "/token"
	// accessTokenAge is the lifetime of an access token, and maxAccessTokens how many
	// are remembered.
	accessTokenAge  = time.Hour
	maxAccessTokens = 10_000
	grantLimit      = 16 << 10 // bytes of a request for an access token

	accountEmail = "kabar@sandbox.iam.gserviceaccount.com"
	grantType    = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// FCM is the fake Firebase Cloud Messaging, with a token endpoint. Its methods are safe for
// concurrent use.
type FCM struct {
	*Provider
	tokens *accessTokens
}

// WriteCredentials makes a service account, writes its key file into dir in the format in
// which Google issues them, and returns the path. From then on every push needs an access
// token, which FCM's own port gives out (token_uri in the file) for a request that is signed
// with the account's key. Without an account, pushes need none. A second call replaces the
// account.
func (f *FCM) WriteCredentials(dir string) (file string, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // the only kind that Google issues
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	uri := "https://" + f.addr + tokenPath
	content, err := json.Marshal(map[string]string{
		"type":           "service_account",
		"project_id":     "sandbox",
		"private_key_id": rand.Text(),
		"private_key":    string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email":   accountEmail,
		"token_uri":      uri,
	})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "kabar-sandbox-fcm.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return "", err
	}
	f.tokens.require(&key.PublicKey, uri)
	return file, nil
}

// ExpireTokens expires every access token given out so far, as if an hour had passed: FCM
// answers 401 UNAUTHENTICATED to them.
func (f *FCM) ExpireTokens() { f.tokens.expireAll() }

// accessTokens gives out and checks access tokens: Google's OAuth 2.0 for service accounts.
type accessTokens struct {
	required atomic.Bool
	refusing atomic.Int32 // grants are refused while it is above zero

	mu      sync.Mutex
	key     *rsa.PublicKey
	uri     string
	expires map[string]time.Time // by access token
}

func newAccessTokens() *accessTokens { return &accessTokens{expires: make(map[string]time.Time)} }

func (t *accessTokens) require(key *rsa.PublicKey, uri string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.key, t.uri = key, uri
	t.required.Store(true)
}

func (t *accessTokens) expireAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.expires)
}

// valid reports whether FCM accepts an Authorization header.
func (t *accessTokens) valid(authorization string) bool {
	if !t.required.Load() {
		return true
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.EqualFold(scheme, "bearer") && time.Now().Before(t.expires[token])
}

// grant answers a request for an access token.
func (t *accessTokens) grant(r *http.Request) (answer, error) {
	body, err := readBody(r, grantLimit)
	if err != nil {
		return answer{}, err
	}
	form, err := url.ParseQuery(string(body))
	switch {
	case err != nil || form.Get("grant_type") != grantType:
		return grantError("unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type")), nil
	case t.refusing.Load() > 0:
		return grantError("invalid_grant", "Invalid grant: account not found"), nil
	case t.verify(form.Get("assertion")) != nil:
		return grantError("invalid_grant", "Invalid JWT Signature."), nil
	}
	token := "ya29.sandbox-" + rand.Text()
	t.mu.Lock()
	if len(t.expires) >= maxAccessTokens {
		clear(t.expires)
	}
	t.expires[token] = time.Now().Add(accessTokenAge)
	t.mu.Unlock()
	return jsonAnswer(http.StatusOK, map[string]any{
		"access_token": token, "expires_in": int(accessTokenAge.Seconds()) - 1, "token_type": "Bearer",
	}), nil
}

var errAssertion = errors.New("invalid assertion")

// verify checks the JSON Web Token with which a client asks for an access token.
func (t *accessTokens) verify(assertion string) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return errAssertion
	}
	var claims struct {
		Iss, Aud string
		Exp      int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || !decodePart(parts[1], &claims) {
		return errAssertion
	}
	t.mu.Lock()
	key, uri := t.key, t.uri
	t.mu.Unlock()
	if key == nil || claims.Iss != accountEmail || claims.Aud != uri || time.Now().After(time.Unix(claims.Exp, 0)) {
		return errAssertion
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
}

// grantError is an error of the token endpoint (RFC 6749, section 5.2).
func grantError(code, description string) answer {
	return jsonAnswer(http.StatusBadRequest, map[string]any{"error": code, "error_description": description})
}

func jsonAnswer(status int, v map[string]any) answer {
	body, _ := json.Marshal(v) // strings and numbers always marshal
	return answer{status: status, contentType: typeJSON, body: body}
}
