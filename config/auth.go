package config

import (
	"fmt"
	"strings"
)

// The values of auth.mode.
const (
	AuthStore    = "store"    // tokens that services store with PUT /v2/users/:id.json
	AuthUpstream = "upstream" // ask another server who a token belongs to
	AuthJWT      = "jwt"      // signed tokens
)

// Auth configures how users are authenticated.
type Auth struct {
	Mode            string `yaml:"mode" doc:"how users are authenticated: store (tokens kept by Kabar), upstream (another server) or jwt (signed tokens)"`
	UpstreamURL     URL    `yaml:"upstream_url" doc:"http(s) URL that is asked about a user's token; needed in mode upstream"`
	JWKS            URL    `yaml:"jwks" doc:"file or http(s) URL of the keys that sign tokens; mode jwt needs this or hs256_secret"`
	HS256Secret     Secret `yaml:"hs256_secret" doc:"shared secret that signs tokens, at least 32 bytes; instead of jwks"`
	HS256SecretFile string `yaml:"hs256_secret_file" doc:"file with hs256_secret"`
	Issuer          string `yaml:"issuer" doc:"what iss of a signed token must be; anything when empty"`
	Audience        string `yaml:"audience" doc:"what aud of a signed token must contain; anything when empty"`

	FailuresPerUser    int `yaml:"failures_per_user" doc:"how often signing in as one user from one address may fail in 5 minutes; 1 to 1000"`
	UsersPerAddress    int `yaml:"users_per_address" doc:"as how many users signing in from one address may fail in 5 minutes; 1 to 10000"`
	UpstreamPerAddress int `yaml:"upstream_per_address" doc:"in mode upstream, how many credentials that are not known to be good upstream_url is asked about for one address in any minute, half of them at once; 0 to 100000, 0 is no limit"`

	Admins []int64 `yaml:"admins" doc:"ids of the users who are administrators; the variable takes 1,2,…"`
}

// minHS256 is the minimum of RFC 7518, section 3.2, in bytes: the size of the hash.
const minHS256 = 32

func (c Auth) validate(p *problems) {
	p.oneOf("auth.mode", c.Mode, AuthStore, AuthUpstream, AuthJWT)

	if c.UpstreamURL != "" {
		p.url("auth.upstream_url", c.UpstreamURL.Reveal(), "http", "https")
	} else if c.Mode == AuthUpstream {
		p.add("auth.upstream_url", "must be set in mode upstream")
	}

	jwks := c.JWKS.Reveal()
	if strings.Contains(jwks, "://") {
		p.url("auth.jwks", jwks, "http", "https")
	} else {
		p.file("auth.jwks", jwks)
	}
	switch {
	case jwks != "" && c.HS256Secret != "":
		p.add("auth.jwks", "must not be set together with auth.hs256_secret: tokens are signed either way, not both")
	case jwks == "" && c.HS256Secret == "" && c.Mode == AuthJWT:
		p.add("auth.jwks", "must be set in mode jwt, or else auth.hs256_secret")
	}
	if c.HS256Secret != "" && len(c.HS256Secret) < minHS256 {
		p.add("auth.hs256_secret", "must have at least %d bytes, not %d", minHS256, len(c.HS256Secret))
	}

	p.between("auth.failures_per_user", c.FailuresPerUser, 1, 1000)
	p.between("auth.users_per_address", c.UsersPerAddress, 1, 10_000)
	p.between("auth.upstream_per_address", c.UpstreamPerAddress, 0, 100_000)

	for i, id := range c.Admins {
		if id <= 0 {
			p.add(fmt.Sprintf("auth.admins[%d]", i), "must be a user id, which is above 0, not %d", id)
		}
	}
}
