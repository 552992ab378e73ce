package credentials

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// TicketTTL is how long a ticket is good for.
const TicketTTL = 30 * time.Second

// Issue returns a ticket: once, and for [TicketTTL], it stands for the user where
// a credential cannot be sent, as when a browser opens a websocket. It has 43
// characters that need no escaping in a URL. Only a digest of it is kept. Until is
// when the credential behind it expires, and zero when it does not; Redeem returns it
// to the millisecond.
//
// An error is an [*account.InvalidError], or Redis'.
func (s *Store) Issue(ctx context.Context, user int64, until time.Time) (ticket string, err error) {
	if err := account.Validate(user); err != nil {
		return "", err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	ticket = base64.RawURLEncoding.EncodeToString(secret[:])
	value := strconv.FormatInt(user, 10)
	if !until.IsZero() {
		value += " " + strconv.FormatInt(until.UnixMilli(), 10)
	}
	// A repeat stores the same, and lets the ticket live for a moment longer.
	key := s.keys.ticket(sha256.Sum256([]byte(ticket)))
	if err := s.signIns.Do(ctx, rdb.NewCommand(ctx, "set", key, value, "px", TicketTTL.Milliseconds())); err != nil {
		return "", fmt.Errorf("issue ticket: %w", err)
	}
	return ticket, nil
}

// Redeem returns the user for whom a ticket stands, and until when the credential
// behind it is good, and spends it. The error is [ErrUnauthorized] when there is no
// such ticket any more or its user was erased, or Redis'.
func (s *Store) Redeem(ctx context.Context, ticket string) (user int64, until time.Time, err error) {
	// A repeat after a lost reply finds the ticket spent and refuses it: the client
	// gets another one, and no ticket is redeemed twice.
	spend := rdb.NewCommand(ctx, "getdel", s.keys.ticket(sha256.Sum256([]byte(ticket))))
	if err := s.signIns.Do(ctx, spend); err != nil {
		return 0, time.Time{}, fmt.Errorf("redeem ticket: %w", err)
	}
	value, err := spend.Text()
	if errors.Is(err, redis.Nil) {
		return 0, time.Time{}, ErrUnauthorized
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("redeem ticket: %w", err)
	}
	if user, until, err = parseTicket(value); err != nil {
		return 0, time.Time{}, fmt.Errorf("redeem ticket: %w", err)
	}
	erased, err := s.redis.HExists(ctx, s.keys.tombstone(user), "erased").Result()
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("look for a tombstone: %w", err)
	}
	if erased {
		return 0, time.Time{}, ErrUnauthorized
	}
	return user, until, nil
}

// parseTicket reads what is kept of a ticket.
func parseTicket(value string) (user int64, until time.Time, err error) {
	id, expires, limited := strings.Cut(value, " ")
	if user, err = strconv.ParseInt(id, 10, 64); err != nil || !limited {
		return user, time.Time{}, err
	}
	ms, err := strconv.ParseInt(expires, 10, 64)
	return user, time.UnixMilli(ms), err
}
