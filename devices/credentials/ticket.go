package credentials

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// TicketTTL is how long a ticket is good for.
const TicketTTL = 30 * time.Second

// A Session is what a credential has vouched for.
type Session struct {
	User int64
	// Until is when the credential expires, and zero when it does not.
	Until time.Time
	// Vouched is when the user's credentials had last been revoked (Unix µs, 0 for never)
	// when this one was found to be good. A later revocation ends the session.
	Vouched int64
}

// Vouch returns Session.Vouched for a credential that is kept elsewhere. Call it before the
// credential is verified, so that no revocation in between is missed. The error is
// [ErrUnauthorized] when the user was erased, or Redis'.
func (s *Store) Vouch(ctx context.Context, user int64) (vouched int64, err error) {
	keys := []string{s.keys.tombstone(user), s.keys.revoked(user)}
	cmd, err := s.signIns.Run(ctx, vouchScript, keys)
	if err != nil {
		return 0, fmt.Errorf("look for revocations: %w", err)
	}
	reply, err := cmd.Int64s(2)
	if err != nil {
		return 0, fmt.Errorf("look for revocations: %w", err)
	}
	if erased := reply[0] == 1; erased {
		return 0, ErrUnauthorized
	}
	return reply[1], nil
}

// Issue returns a ticket: once, and for [TicketTTL], it stands for the session where
// a credential cannot be sent, as when a browser opens a websocket. It has 43
// characters that need no escaping in a URL. Only a digest of it is kept. Redeem returns
// Until to the millisecond.
//
// An error is an [*account.InvalidError], or Redis'.
func (s *Store) Issue(ctx context.Context, session Session) (ticket string, err error) {
	if err := account.Validate(session.User); err != nil {
		return "", err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	ticket = base64.RawURLEncoding.EncodeToString(secret[:])
	var until int64
	if !session.Until.IsZero() {
		until = session.Until.UnixMilli()
	}
	// A repeat stores the same, and lets the ticket live for a moment longer.
	key := s.keys.ticket(sha256.Sum256([]byte(ticket)))
	value := fmt.Sprint(session.User, until, session.Vouched)
	if err := s.signIns.Do(ctx, rdb.NewCommand(ctx, "set", key, value, "px", TicketTTL.Milliseconds())); err != nil {
		return "", fmt.Errorf("issue ticket: %w", err)
	}
	return ticket, nil
}

// Redeem returns the session for which a ticket stands, and spends the ticket. The error is
// [ErrUnauthorized] when there is no such ticket any more, its user was erased, or the
// user's credentials were revoked since; else Redis'.
func (s *Store) Redeem(ctx context.Context, ticket string) (Session, error) {
	// A repeat after a lost reply finds the ticket spent and refuses it: the client
	// gets another one, and no ticket is redeemed twice.
	spend := rdb.NewCommand(ctx, "getdel", s.keys.ticket(sha256.Sum256([]byte(ticket))))
	if err := s.signIns.Do(ctx, spend); err != nil {
		return Session{}, fmt.Errorf("redeem ticket: %w", err)
	}
	value, err := spend.Text()
	if errors.Is(err, redis.Nil) {
		return Session{}, ErrUnauthorized
	}
	if err != nil {
		return Session{}, fmt.Errorf("redeem ticket: %w", err)
	}
	session, err := parseTicket(value)
	if err != nil {
		return Session{}, fmt.Errorf("redeem ticket: %w", err)
	}
	revoked, err := s.Vouch(ctx, session.User)
	if err != nil {
		return Session{}, err
	}
	if revoked > session.Vouched {
		return Session{}, ErrUnauthorized
	}
	return session, nil
}

// parseTicket reads what is kept of a ticket.
func parseTicket(value string) (session Session, err error) {
	var until int64
	_, err = fmt.Sscan(value, &session.User, &until, &session.Vouched)
	if until != 0 {
		session.Until = time.UnixMilli(until)
	}
	return session, err
}
