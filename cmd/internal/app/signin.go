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

// A Vouching says whether a credential that Kabar does not keep is a user's. Close it.
// One with a method Run(context.Context) is to be run while it is used.
type Vouching interface {
	api.SignIn
	// Check says whether it works: an error says what does not.
	Check(ctx context.Context) error
	Close() error
}

// NewVouching returns what auth.mode asks for: nil in mode store, where Kabar keeps
// the credentials. It reads files, and asks nobody yet. Check needs no Options.
func NewVouching(cfg config.Auth, o signin.Options) (Vouching, error) {
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

// signInOptions have failures counted, and users known, in Redis.
func (c *Core) signInOptions(log *slog.Logger) signin.Options {
	return signin.Options{
		Limits: c.Credentials,
		Welcome: func(ctx context.Context, user int64) error {
			err := c.Inbox.Welcome(ctx, user)
			if errors.Is(err, inbox.ErrErased) {
				return credentials.ErrUnauthorized // until a service makes them known anew
			}
			return err
		},
		Log: log,
	}
}
