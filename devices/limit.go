package devices

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// An Action is what a [Limiter] counts. Each has limits of its own, so that an app that
// registers over and over can still log out.
type Action string

// The actions.
const (
	Registering Action = "register" // registering a device, or replacing its token
	Removing    Action = "remove"
)

// Limits are how many actions of a kind are permitted within any hour, half of them at once.
// 0 is no limit.
type Limits struct {
	PerUser    int
	PerAddress int // of all users behind a public address; others are those of proxies
}

// A LimitError reports that a user, or an address, has registered or removed too many
// devices.
type LimitError struct {
	// By is what has reached its limit: "user" or "address".
	By string
	// RetryAfter is how long to wait until the next request is permitted.
	RetryAfter time.Duration
}

// Error says whose limit it is and how long to wait.
func (e *LimitError) Error() string {
	return fmt.Sprintf("too many devices of this %s, try again in %v", e.By, e.RetryAfter)
}

// A Limiter limits registrations and removals of devices. It keeps its counts in Redis, so
// that all processes share them. It is safe for concurrent use.
type Limiter struct {
	batcher *rdb.Batcher
	keys    keys
	limits  Limits
}

// NewLimiter returns a limiter. The batcher should not wait for replicas. It does not talk
// to Redis yet.
func NewLimiter(b *rdb.Batcher, p *rdb.Partitions, l Limits) *Limiter {
	return &Limiter{batcher: b, keys: keys{p}, limits: l}
}

// Allow counts an action of a user from an IP address, in one round trip for each limit. The
// error is a [*LimitError], or Redis'. A user who has reached their limit takes nothing from
// that of the address, which others share.
func (l *Limiter) Allow(ctx context.Context, a Action, user int64, address string) error {
	if err := l.take(ctx, "user", l.keys.userLimit(a, user), l.limits.PerUser); err != nil {
		return err
	}
	n := network(address)
	if n == "" {
		return nil
	}
	return l.take(ctx, "address", l.keys.networkLimit(a, n), l.limits.PerAddress)
}

func (l *Limiter) take(ctx context.Context, by, key string, perHour int) error {
	if perHour == 0 {
		return nil
	}
	burst := (perHour + 1) / 2
	interval := max(time.Hour/time.Duration(max(perHour-burst, 1)), time.Millisecond)
	cmd, err := l.batcher.Run(ctx, limitScript, []string{key}, burst, interval.Milliseconds())
	if err != nil {
		return fmt.Errorf("limit registrations: %w", err)
	}
	wait, err := cmd.Int64()
	if err != nil {
		return fmt.Errorf("limit registrations: %w", err)
	}
	if wait > 0 {
		return &LimitError{By: by, RetryAfter: time.Duration(wait) * time.Millisecond}
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

// digest shortens an address for a key.
func digest(address string) string {
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:16])
}
