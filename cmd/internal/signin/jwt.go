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
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Leeway is by how much the clocks of the issuer and of Kabar may differ.
const Leeway = 30 * time.Second

// JWTOptions configure a JWT. Either Secret or JWKS is required.
type JWTOptions struct {
	Options
	// Secret signs tokens with HS256; tokens that are signed in another way are
	// refused. RFC 7518, section 3.2 wants at least 32 bytes.
	Secret []byte
	// JWKS is a file or an http(s) URL of public keys (RFC 7517) that verify RS256,
	// PS256, ES256 and EdDSA, and nothing else.
	JWKS string
	// Issuer is what iss must be, Audience what aud must contain. Neither is checked
	// when empty.
	Issuer, Audience string
	// Transport fetches the keys: one with limits of its own when nil.
	Transport http.RoundTripper
}

// A JWT verifies signed tokens (RFC 7519) by their signature alone. A token's sub is
// the user's id, in its canonical form; exp is required. It is safe for concurrent use.
// Run it, and close it afterwards.
type JWT struct {
	*verifier
	algorithms []jose.SignatureAlgorithm
	secret     []byte
	keys       *keys // nil with a secret
	expected   jwt.Expected
}

// NewJWT returns a JWT. It reads a file of keys at once, and fetches a URL later.
func NewJWT(o JWTOptions) (*JWT, error) {
	j := &JWT{verifier: newVerifier(o.Options), expected: jwt.Expected{Issuer: o.Issuer}}
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
	keys, err := newKeys(j.verifier, o.JWKS, o.Transport)
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

// Close cancels the fetching of keys and waits for its end.
func (j *JWT) Close() error {
	if j.keys != nil {
		j.keys.close()
	}
	return nil
}

// Authenticate verifies that token is one of the user's. Address is where the
// attempt comes from. Failed attempts before do not lock out a good token.
//
// It returns credentials.ErrUnauthorized, a *credentials.LockedOutError instead when
// there were too many failures, [ErrUnavailable] when there are no keys yet, ctx' error,
// or that of Guard or AddUser.
func (j *JWT) Authenticate(ctx context.Context, user int64, token, address string) error {
	err := j.verify(ctx, user, token)
	switch {
	case err == nil:
		return j.addUser(ctx, user)
	case !errors.Is(err, credentials.ErrUnauthorized):
		return err
	}
	if limit := j.Guard.CountFailure(ctx, user, address); limit != nil {
		return limit
	}
	return err
}

// Claims returns which user a token claims to be, and when it expires. Nothing is
// verified: [JWT.Authenticate] does that. The error is credentials.ErrUnauthorized for
// what cannot be a good token.
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
		user, err = model.ParseUser(c.Subject)
	}
	if err != nil {
		return nil, 0, time.Time{}, unauthorized(err)
	}
	return parsed, user, c.Expiry.Time().Add(Leeway), nil
}

// unauthorized says why a token is not good. go-jose's errors do not show the token.
func unauthorized(reason error) error {
	return fmt.Errorf("%w: %w", credentials.ErrUnauthorized, reason)
}

// verify returns credentials.ErrUnauthorized, with the reason, or the error of find.
func (j *JWT) verify(ctx context.Context, user int64, token string) error {
	parsed, claimed, _, err := j.parse(token)
	if err != nil {
		return err
	}
	if claimed != user {
		return unauthorized(errors.New("sub is another user"))
	}
	key, err := j.key(ctx, parsed.Headers[0])
	if err != nil {
		return err
	}
	var c jwt.Claims
	if err := parsed.Claims(key, &c); err != nil {
		return unauthorized(err)
	}
	expected := j.expected
	expected.Time = j.Now()
	if err := c.ValidateWithLeeway(expected, Leeway); err != nil {
		return unauthorized(err)
	}
	return nil
}

// key returns the key that verifies a token with that header. The header comes from
// the sender: it chooses among our keys, and a key in it is ignored.
func (j *JWT) key(ctx context.Context, h jose.Header) (any, error) {
	if j.keys == nil {
		return j.secret, nil
	}
	return j.keys.find(ctx, h.KeyID, jose.SignatureAlgorithm(h.Algorithm))
}

// Check reads the keys, and returns an error when none of them can verify a token.
func (j *JWT) Check(ctx context.Context) error {
	if j.keys == nil {
		return nil
	}
	return j.keys.load(ctx)
}
