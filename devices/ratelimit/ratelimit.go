// Package ratelimit limits how often users and addresses do something. It keeps its counts
// in Redis, so that all processes share them.
package ratelimit

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed limit.lua
var limitLua string

var limitScript = rdb.NewScript(limitLua)

// Limits are how many times something is permitted within any hour, half of them at once. 0
// is no limit.
type Limits struct {
	PerUser    int
	PerAddress int // of all users behind a public address; others are those of proxies
}

// A LimitError reports that a user, or an address, has reached a limit.
type LimitError struct {
	// Action is what is limited; see [New].
	Action string
	// By is what has reached its limit: "user" or "address".
	By string
	// RetryAfter is how long to wait until the next request is permitted.
	RetryAfter time.Duration
}

// Error says whose limit it is and how long to wait.
func (e *LimitError) Error() string {
	return fmt.Sprintf("limit of %s of this %s reached, try again in %v", e.Action, e.By, e.RetryAfter)
}

// A Limiter limits one action. It is safe for concurrent use.
type Limiter struct {
	batcher *rdb.Batcher
	parts   *rdb.Partitions
	action  string
	limits  Limits
}

// New returns a limiter of an action, such as "uploads", which is part of its keys. The
// batcher should not wait for replicas. New does not talk to Redis yet.
func New(b *rdb.Batcher, p *rdb.Partitions, action string, l Limits) *Limiter {
	return &Limiter{batcher: b, parts: p, action: action, limits: l}
}

// Allow counts an action of a user from an IP address, in one round trip for each limit. The
// error is a [*LimitError], or Redis'. A user who has reached their limit takes nothing from
// that of the address, which others share.
func (l *Limiter) Allow(ctx context.Context, user int64, address string) error {
	if err := l.take(ctx, "user", l.userKey(user), l.limits.PerUser); err != nil {
		return err
	}
	n := network(address)
	if n == "" {
		return nil
	}
	return l.take(ctx, "address", l.networkKey(n), l.limits.PerAddress)
}

// userKey and networkKey are strings without content: their expiry says how much of a limit
// is used; see limit.lua. Kept for an hour at most.
func (l *Limiter) userKey(user int64) string {
	return l.parts.Key(l.parts.OfUser(user), "limit:"+l.action+":"+strconv.FormatInt(user, 10))
}

func (l *Limiter) networkKey(network string) string {
	sum := sha256.Sum256([]byte(network))
	id := hex.EncodeToString(sum[:16])
	return l.parts.Key(l.parts.Of(id), "limit:"+l.action+":address:"+id)
}

func (l *Limiter) take(ctx context.Context, by, key string, perHour int) error {
	if perHour == 0 {
		return nil
	}
	burst := (perHour + 1) / 2
	interval := max(time.Hour/time.Duration(max(perHour-burst, 1)), time.Millisecond)
	cmd, err := l.batcher.Run(ctx, limitScript, []string{key}, burst, interval.Milliseconds())
	if err != nil {
		return fmt.Errorf("limit %s: %w", l.action, err)
	}
	wait, err := cmd.Int64()
	if err != nil {
		return fmt.Errorf("limit %s: %w", l.action, err)
	}
	if wait > 0 {
		return &LimitError{Action: l.action, By: by, RetryAfter: time.Duration(wait) * time.Millisecond}
	}
	return nil
}

// sharedSpace is what carriers and clouds use inside of their networks (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// network is an address as limits count it: of IPv6 the network of 64 bits that one
// customer has, so that one of them is not many. It is "" for an address that is not public:
// there a proxy stands between the clients and Kabar.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedSpace.Contains(ip):
		return ""
	case ip.Is4():
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}
