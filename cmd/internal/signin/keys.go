package signin

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

const (
	refreshInterval = 5 * time.Minute
	minRefreshGap   = 15 * time.Second // between two attempts
	minRSABits      = 2048             // RFC 7518, section 3.3
)

// keys are the public keys of a JWKS. They are read again every refreshInterval, and
// when a token names an unknown key, as after a rotation. When reading fails, the keys
// read before stay in use. It is safe for concurrent use.
type keys struct {
	*verifier
	read   func(context.Context) ([]byte, error)
	client *http.Client // nil for a file
	calls  *callGroup

	mu      sync.Mutex
	list    []jose.JSONWebKey
	loaded  bool
	triedAt time.Time // when the last attempt to read them began
}

// newKeys returns keys. It reads a file at once.
func newKeys(v *verifier, source string, transport http.RoundTripper) (*keys, error) {
	k := &keys{verifier: v, calls: newCallGroup()}
	if !strings.Contains(source, "://") {
		k.read = func(context.Context) ([]byte, error) { return readFile(source) }
		return k, k.load(context.Background())
	}
	request, err := getRequest(source)
	if err != nil {
		return nil, err
	}
	k.client = newClient(transport, v.Timeout)
	k.read = func(ctx context.Context) ([]byte, error) {
		status, body, err := fetch(ctx, k.client, request.Clone(ctx))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the server answers %d", status)
		}
		return body, err
	}
	return k, nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBody+1))
	if err == nil && len(data) > maxBody {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxBody)
	}
	return data, err
}

// run reads the keys until ctx ends.
func (k *keys) run(ctx context.Context) {
	for {
		wait := refreshInterval
		if err := k.calls.do(ctx, "", k.refresh); err != nil && ctx.Err() == nil {
			k.warn("the keys of auth.jwks cannot be read", err)
			wait = minRefreshGap
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (k *keys) close() {
	k.calls.close()
	if k.client != nil {
		k.client.CloseIdleConnections()
	}
}

// refresh reads the keys, unless that was tried shortly before.
func (k *keys) refresh(ctx context.Context) error {
	k.mu.Lock()
	recent := !k.triedAt.IsZero() && k.Now().Sub(k.triedAt) < minRefreshGap
	k.mu.Unlock()
	if recent {
		return nil
	}
	return k.load(ctx)
}

// load reads the keys. After an error the keys read before stay in use.
func (k *keys) load(ctx context.Context) error {
	k.mu.Lock()
	k.triedAt = k.Now()
	k.mu.Unlock()
	document, err := k.read(ctx)
	if err != nil {
		return err
	}
	list, err := parseKeys(document)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list, k.loaded = list, true
	return nil
}

// find returns the key that a token names, if it fits the token's algorithm. For a token
// that names none it returns the only key that fits. The error is
// credentials.ErrUnauthorized, or ErrUnavailable while there are no keys.
func (k *keys) find(ctx context.Context, id string, alg jose.SignatureAlgorithm) (any, error) {
	if key, _ := k.choose(id, alg); key != nil {
		return key, nil
	}
	if err := k.calls.do(ctx, "", k.refresh); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		k.warn("the keys of auth.jwks cannot be read", err)
	}
	key, loaded := k.choose(id, alg)
	if key != nil {
		return key, nil
	}
	if !loaded {
		return nil, fmt.Errorf("%w: there are no keys yet", ErrUnavailable)
	}
	return nil, fmt.Errorf("%w: no key fits the token", credentials.ErrUnauthorized)
}

// choose returns nil when no key fits, or when several do and the token names none.
func (k *keys) choose(id string, alg jose.SignatureAlgorithm) (key any, loaded bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, candidate := range k.list {
		if id != "" && candidate.KeyID != id || !fits(candidate, alg) {
			continue
		}
		if key != nil {
			return nil, k.loaded
		}
		key = candidate.Key
	}
	return key, k.loaded
}

// parseKeys returns the keys of a JWKS that can verify tokens. It skips the others, as
// RFC 7517, section 5 asks: keys of unknown types, for encryption, or secret.
func parseKeys(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("is not a JSON Web Key Set")
	}
	var list []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig") {
			list = append(list, key)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("holds no public key for signatures")
	}
	return list, nil
}

// fits reports whether a key can verify signatures of the algorithm.
func fits(key jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(alg) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return (alg == jose.RS256 || alg == jose.PS256) && public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return alg == jose.ES256 && public.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}
