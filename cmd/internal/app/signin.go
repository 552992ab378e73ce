package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kabar-gateway/kabar/cmd/internal/api"
	"github.com/kabar-gateway/kabar/cmd/internal/signin"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/inbox"
)

// A Verifier verifies credentials that Kabar does not keep. Close it. One that has a
// method Run(context.Context) has to be run while it is used.
type Verifier interface {
	api.SignIn
	// Check returns an error that says why it does not work.
	Check(ctx context.Context) error
	Close() error
}

// NewVerifier returns the verifier of auth.mode: nil in mode store, where Kabar keeps
// the credentials. It reads files, and sends no request yet. Check needs no Options.
func NewVerifier(cfg config.Auth, o signin.Options) (Verifier, error) {
	switch cfg.Mode {
	case config.AuthUpstream:
		u, err := signin.NewUpstream(signin.UpstreamOptions{Options: o, URL: cfg.UpstreamURL.Reveal()})
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		return u, nil
	case config.AuthJWT:
		j, err := signin.NewJWT(signin.JWTOptions{
			Options:  o,
			Secret:   []byte(cfg.HS256Secret.Reveal()),
			JWKS:     cfg.JWKS.Reveal(),
			Issuer:   cfg.Issuer,
			Audience: cfg.Audience,
		})
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		return j, nil
	}
	return nil, nil
}

// signInOptions limit failures and add users in Redis.
func (c *Core) signInOptions(log *slog.Logger) signin.Options {
	return signin.Options{
		Guard: c.Credentials,
		AddUser: func(ctx context.Context, user int64) error {
			err := c.Inbox.Profiles.MarkKnown(ctx, user)
			if errors.Is(err, inbox.ErrErased) {
				return credentials.ErrUnauthorized // until a service makes them known anew
			}
			return err
		},
		Log: log,
	}
}
