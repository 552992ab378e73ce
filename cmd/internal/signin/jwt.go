package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher"
)

// Leeway is by how much the clocks of the issuer and of Kabar may differ.
const Leeway = 30 * time.Second

// JWTOptions configure a JWT. Either Secret or JWKS is required.
type JWTOptions struct {
	Options
	// Secret signs tokens with HS256, and no token is taken that is signed
	// otherwise. RFC 7518, section 3.2 wants at least 32 bytes.
	Secret []byte
	// JWKS is a file or an http(s) URL of public keys (RFC 7517) that verify RS256,
	// PS256, ES256 and EdDSA, and nothing else.
	JWKS string
	// Issuer and Audience are what iss must be and aud must contain: anything when
	// empty.
	Issuer, Audience string
	// Transport fetches the keys: one with bounds of its own when nil.
	Transport http.RoundTripper
}

// A JWT verifies signed tokens (RFC 7519) without asking anybody. A token's sub is
// the user's id, canonical; exp is required. It is safe for concurrent use.
// Run it, and close it afterwards.
type JWT struct {
	*door
	algorithms []jose.SignatureAlgorithm
	secret     []byte
	keys       *keys // nil with a secret
	expected   jwt.Expected
}

// NewJWT returns a JWT. It reads a file of keys; a URL is not asked yet.
func NewJWT(o JWTOptions) (*JWT, error) {
	j := &JWT{door: newDoor(o.Options), expected: jwt.Expected{Issuer: o.Issuer}}
	if o.Audience != "" {
		j.expected.AnyAudience = jwt.Audience{o.Audience}
	}
	if o.JWKS == "" {
		if len(o.Secret) == 0 {
			return nil, errors.New("neither a secret nor a JWKS")
		}
		j.algorithms, j.secret = []jose.SignatureAlgorithm{jose.HS256}, o.Secret
		return j, nil
	}
	if len(o.Secret) > 0 {
		return nil, errors.New("tokens are signed with a secret or with the keys of a JWKS, not both")
	}
	keys, err := newKeys(j.door, o.JWKS, o.Transport)
	if err != nil {
		return nil, fmt.Errorf("JWKS: %w", err)
	}
	j.algorithms, j.keys = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}, keys
	return j, nil
}

// Run keeps the keys up to date until ctx ends.
func (j *JWT) Run(ctx context.Context) {
	if j.keys != nil {
		j.keys.run(ctx)
	}
}

// Close waits for the keys that are being fetched, after ending that.
func (j *JWT) Close() error {
	if j.keys != nil {
		j.keys.close()
	}
	return nil
}

// Authenticate verifies that token is one of the user's. Address is where the
// attempt comes from. A good token is let in whatever failed before it.
//
// It returns credentials.ErrUnauthorized, a *credentials.LockedOutError when there were too
// many failures besides, [ErrUnavailable] when there are no keys yet, ctx' error, or
// that of Limits or Welcome.
func (j *JWT) Authenticate(ctx context.Context, user int64, token, address string) error {
	err := j.verify(ctx, user, token)
	switch {
	case err == nil:
		return j.welcome(ctx, user)
	case !errors.Is(err, credentials.ErrUnauthorized):
		return err
	}
	if limit := j.Limits.CountFailure(ctx, user, address); limit != nil {
		return limit
	}
	return err
}

// Claims returns whose a token claims to be, and until when it will be good. Nothing
// is verified: it is for [JWT.Authenticate] to say whether that is true. The error is
// credentials.ErrUnauthorized for what cannot be a good token.
func (j *JWT) Claims(token string) (user int64, until time.Time, err error) {
	_, user, until, err = j.parse(token)
	return user, until, err
}

func (j *JWT) parse(token string) (parsed *jwt.JSONWebToken, user int64, until time.Time, err error) {
	var c jwt.Claims
	if parsed, err = jwt.ParseSigned(token, j.algorithms); err == nil {
		err = parsed.UnsafeClaimsWithoutVerification(&c)
	}
	if err == nil && c.Expiry == nil {
		err = errors.New("exp is missing")
	}
	if err == nil {
		user, err = dispatcher.ParseUser(c.Subject)
	}
	if err != nil {
		return nil, 0, time.Time{}, refused(err)
	}
	return parsed, user, c.Expiry.Time().Add(Leeway), nil
}

// refused says why a token is not good. go-jose's reasons do not show it.
func refused(reason error) error { return fmt.Errorf("%w: %w", credentials.ErrUnauthorized, reason) }

// verify returns credentials.ErrUnauthorized, with the reason, or what keeps the keys
// from being known.
func (j *JWT) verify(ctx context.Context, user int64, token string) error {
	parsed, claimed, _, err := j.parse(token)
	if err != nil {
		return err
	}
	if claimed != user {
		return refused(errors.New("sub is another user"))
	}
	key, err := j.key(ctx, parsed.Headers[0])
	if err != nil {
		return err
	}
	var c jwt.Claims
	if err := parsed.Claims(key, &c); err != nil {
		return refused(err)
	}
	expected := j.expected
	expected.Time = j.Now()
	if err := c.ValidateWithLeeway(expected, Leeway); err != nil {
		return refused(err)
	}
	return nil
}

// key returns what a token with that header has to be verified with. The header is
// the sender's: it chooses among our keys, and cannot bring one of its own.
func (j *JWT) key(ctx context.Context, h jose.Header) (any, error) {
	if j.keys == nil {
		return j.secret, nil
	}
	return j.keys.find(ctx, h.KeyID, jose.SignatureAlgorithm(h.Algorithm))
}

// Check reads the keys, and returns an error when there is none that can verify a
// token.
func (j *JWT) Check(ctx context.Context) error {
	if j.keys == nil {
		return nil
	}
	return j.keys.load(ctx)
}
