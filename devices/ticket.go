package devices

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
)

// TicketLife is how long a ticket is good for.
const TicketLife = 30 * time.Second

// Issue returns a ticket: once, and for [TicketLife], it stands for the user where
// a credential cannot be sent, as when a browser opens a websocket. It has 43
// characters that need no escaping in a URL. Only a digest of it is kept. Until is
// when the credential behind it expires, and zero when it does not; Redeem returns it
// to the millisecond.
//
// An error is an [*InvalidError], or Redis'.
func (r *Registry) Issue(ctx context.Context, user int64, until time.Time) (ticket string, err error) {
	if err := validUser(user); err != nil {
		return "", err
	}
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	ticket = base64.RawURLEncoding.EncodeToString(secret[:])
	stands := strconv.FormatInt(user, 10)
	if !until.IsZero() {
		stands += " " + strconv.FormatInt(until.UnixMilli(), 10)
	}
	if err := r.redis.Set(ctx, r.keys.ticket(sha256.Sum256([]byte(ticket))), stands, TicketLife).Err(); err != nil {
		return "", fmt.Errorf("issue ticket: %w", err)
	}
	return ticket, nil
}

// Redeem returns the user for whom a ticket stands, and until when the credential
// behind it is good, and spends it. The error is [ErrUnauthorized] when there is no
// such ticket any more or its user was erased, or Redis'.
func (r *Registry) Redeem(ctx context.Context, ticket string) (user int64, until time.Time, err error) {
	stands, err := r.redis.GetDel(ctx, r.keys.ticket(sha256.Sum256([]byte(ticket)))).Result()
	if errors.Is(err, redis.Nil) {
		return 0, time.Time{}, ErrUnauthorized
	}
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("redeem ticket: %w", err)
	}
	id, expires, limited := strings.Cut(stands, " ")
	if user, err = strconv.ParseInt(id, 10, 64); err != nil {
		return 0, time.Time{}, fmt.Errorf("redeem ticket: %w", err)
	}
	if limited {
		ms, err := strconv.ParseInt(expires, 10, 64)
		if err != nil {
			return 0, time.Time{}, fmt.Errorf("redeem ticket: %w", err)
		}
		until = time.UnixMilli(ms)
	}
	if erased, err := r.erased(ctx, user); err != nil {
		return 0, time.Time{}, err
	} else if erased {
		return 0, time.Time{}, ErrUnauthorized
	}
	return user, until, nil
}
