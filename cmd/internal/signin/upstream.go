package signin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

const (
	// Fresh is how long a yes of the upstream is good without asking again.
	Fresh = 5 * time.Minute
	// Stale is how long it is good while the upstream gives no answer.
	Stale = time.Hour

	askAgain = 10 * time.Second // after no answer, while an older yes is good
	maxGood  = 1 << 16          // credentials that a process remembers
)

// UpstreamOptions configure an Upstream. URL is required.
type UpstreamOptions struct {
	Options
	// URL is the marketplace's users/info.json, http or https. A user and password
	// in it are not sent: the credential that is asked about takes their place.
	URL string
	// Transport carries the requests: one with bounds of its own when nil.
	Transport http.RoundTripper
}

// An Upstream verifies credentials by presenting them to the server that keeps
// them, as HTTP Basic. It answers (Users, "Get User Info") 200 with the status OK
// when they are right. It need not say whose they are, but if it does
// (user.id or user_id), that has to be who signs in. No is 401, 403, or 200 with
// the status ERROR. Everything else, silence included, is neither.
//
// A yes is remembered for Fresh, by a digest, and for Stale where the server can
// say neither yes nor no. It is safe for concurrent use. Close it.
type Upstream struct {
	*door
	client  *http.Client
	request *http.Request // to be cloned
	good    *lru.Cache[credential, yes]
	flights *flights
}

// A credential, without the secret itself.
type credential struct {
	user  int64
	token [sha256.Size]byte // a digest
}

// A yes of the upstream, and when it was asked again in vain.
type yes struct{ at, asked time.Time }

// NewUpstream returns an Upstream. It asks nothing yet.
func NewUpstream(o UpstreamOptions) (*Upstream, error) {
	request, err := getRequest(o.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream URL: %w", err)
	}
	return &Upstream{
		door:    newDoor(o.Options),
		client:  newClient(o.Transport),
		request: request,
		good:    newCache[credential, yes](maxGood),
		flights: newFlights(),
	}, nil
}

// Close waits for the requests that are under way, after ending them.
func (u *Upstream) Close() error {
	u.flights.close()
	u.client.CloseIdleConnections()
	return nil
}

// Authenticate verifies that token is what the user signs in with. Address is where
// the attempt comes from. Those who present the same credential at once share one
// request.
//
// It returns credentials.ErrUnauthorized, a *credentials.LockedOutError after too many
// failures, [ErrUnavailable] when the upstream gives no answer, ctx' error, or that
// of Limits or Welcome.
func (u *Upstream) Authenticate(ctx context.Context, user int64, token, address string) error {
	if token == "" {
		return credentials.ErrUnauthorized // an upstream might take that for a visitor
	}
	c := credential{user, sha256.Sum256([]byte(token))}
	if !u.sure(c) {
		key := strconv.FormatInt(user, 10) + ":" + hex.EncodeToString(c.token[:])
		_, known := u.remembered(c)
		if !known {
			key += ":" + address // counted on its own
		}
		attempt := func(ctx context.Context) error { return u.attempt(ctx, c, token, address, known) }
		if err := u.flights.do(ctx, key, attempt); err != nil {
			return err
		}
	}
	return u.welcome(ctx, user)
}

// remembered returns a yes that is not older than Stale.
func (u *Upstream) remembered(c credential) (yes, bool) {
	y, ok := u.good.Get(c)
	return y, ok && u.Now().Sub(y.at) < Stale
}

// sure reports whether a credential is good without asking (again, so soon).
func (u *Upstream) sure(c credential) bool {
	y, ok := u.remembered(c)
	now := u.Now()
	return ok && (now.Sub(y.at) < Fresh || now.Sub(y.asked) < askAgain)
}

// attempt asks about a credential. One that is not known to be good counts as a
// failure until the upstream says otherwise.
func (u *Upstream) attempt(ctx context.Context, c credential, token, address string, known bool) error {
	if u.sure(c) {
		return nil // as the flight before this one has found
	}
	if !known {
		if err := u.Limits.CountFailure(ctx, c.user, address); err != nil {
			return err
		}
	}
	now := u.Now()
	err := u.ask(ctx, c.user, token)
	switch {
	case err == nil:
		u.good.Add(c, yes{at: now})
	case errors.Is(err, credentials.ErrUnauthorized):
		u.good.Remove(c)
		if known {
			// The answer is no, whatever comes of counting it.
			_ = u.Limits.CountFailure(ctx, c.user, address)
		}
		return err
	default:
		u.warn("the upstream of auth.mode gives no answer", err)
		if y, ok := u.remembered(c); ok {
			y.asked = u.Now()
			u.good.Add(c, y)
			err = nil
		}
	}
	if !known {
		// At worst it counts until the window ends.
		_ = u.Limits.Forgive(ctx, c.user, address)
	}
	return err
}

// ask presents a credential. The error is nil for yes, credentials.ErrUnauthorized for
// no, and ErrUnavailable otherwise.
func (u *Upstream) ask(ctx context.Context, user int64, token string) error {
	req := u.request.Clone(ctx)
	req.SetBasicAuth(strconv.FormatInt(user, 10), token)
	status, body, err := fetch(ctx, u.client, req)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: the upstream answers %d", credentials.ErrUnauthorized, status)
	case status != http.StatusOK:
		return fmt.Errorf("%w: the upstream answers %d", ErrUnavailable, status)
	}
	return verdict(body, user)
}

// verdict reads an answer with the status 200.
func verdict(body []byte, user int64) error {
	var info struct {
		Status string         `json:"status"`
		UserID jsontext.Value `json:"user_id"`
		User   struct {
			ID jsontext.Value `json:"id"`
		} `json:"user"`
	}
	// What does not concern us may be odd.
	err := json.Unmarshal(body, &info, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	switch {
	case err != nil:
		return fmt.Errorf("%w: the upstream's answer is not the JSON of users/info.json", ErrUnavailable)
	case info.Status == "ERROR":
		return fmt.Errorf("%w: the upstream says ERROR", credentials.ErrUnauthorized)
	case info.Status != "OK":
		return fmt.Errorf("%w: the upstream's answer has no status", ErrUnavailable)
	}
	for _, id := range []jsontext.Value{info.User.ID, info.UserID} {
		if id != nil && id.Kind() != 'n' && strings.Trim(string(id), `"`) != strconv.FormatInt(user, 10) {
			return fmt.Errorf("%w: the upstream says that it is somebody else's", credentials.ErrUnauthorized)
		}
	}
	return nil
}

// Check asks about a credential that cannot be right, and returns an error unless
// the upstream says so.
func (u *Upstream) Check(ctx context.Context) error {
	err := u.ask(ctx, 1, "kabar-doctor")
	if err == nil {
		return errors.New("the upstream takes a made-up token for right")
	}
	if errors.Is(err, credentials.ErrUnauthorized) {
		return nil
	}
	return err
}
