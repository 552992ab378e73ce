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
	// Fresh is how long a cached success is used without asking the upstream again.
	Fresh = 5 * time.Minute
	// Stale is how long it is used while the upstream gives no answer.
	Stale = time.Hour

	retryInterval = 10 * time.Second // after no answer, while a cached success is used
	maxSuccesses  = 1 << 16          // cached in a process
)

// UpstreamOptions configure an Upstream. URL is required.
type UpstreamOptions struct {
	Options
	// URL is the marketplace's users/info.json, http or https. A user and password
	// in it are replaced by the credential that is verified.
	URL string
	// Transport carries the requests: one with limits of its own when nil.
	Transport http.RoundTripper
}

// An Upstream verifies credentials by presenting them to the server that keeps
// them, as HTTP Basic. A credential is good when the server answers 200 with the status
// OK (Users, "Get User Info") and, if the answer names a user (user.id or user_id), names
// the one who signs in. It is bad when the server answers 401, 403, or 200 with the
// status ERROR. Any other answer, and a timeout, tells nothing.
//
// A success is cached, by a digest, for Fresh, and for Stale while the server gives no
// answer. Options.Guard keeps it for other processes, for credentials from the same address,
// and exempts these from the limits of failures and of calls. It is safe for concurrent use.
// Close it.
type Upstream struct {
	*verifier
	client    *http.Client
	request   *http.Request // to be cloned
	successes *lru.Cache[credential, success]
	calls     *callGroup
}

// A credential without the secret itself.
type credential struct {
	user  int64
	token [sha256.Size]byte // a digest
}

// A success is when the upstream called a credential good, and when it was asked again
// and gave no answer.
type success struct{ at, retriedAt time.Time }

// NewUpstream returns an Upstream. It sends nothing yet.
func NewUpstream(o UpstreamOptions) (*Upstream, error) {
	request, err := getRequest(o.URL)
	if err != nil {
		return nil, fmt.Errorf("upstream URL: %w", err)
	}
	v := newVerifier(o.Options)
	return &Upstream{
		verifier:  v,
		client:    newClient(o.Transport, v.Timeout),
		request:   request,
		successes: newCache[credential, success](maxSuccesses),
		calls:     newCallGroup(),
	}, nil
}

// Close cancels the requests under way and waits for their end.
func (u *Upstream) Close() error {
	u.calls.close()
	u.client.CloseIdleConnections()
	return nil
}

// Authenticate verifies that token is the one that the user signs in with. address is where
// the attempt comes from. Concurrent calls with the same credential share one request.
//
// It returns credentials.ErrUnauthorized, a *credentials.LockedOutError after too many
// failures, [ErrUnavailable] when the upstream gives no answer, ctx' error, or that
// of Guard or AddUser.
func (u *Upstream) Authenticate(ctx context.Context, user int64, token, address string) error {
	if token == "" {
		return credentials.ErrUnauthorized // an upstream might take that for a visitor
	}
	c := credential{user, sha256.Sum256([]byte(token))}
	if !u.settled(c) {
		key := strconv.FormatInt(user, 10) + ":" + hex.EncodeToString(c.token[:])
		_, known := u.cached(c)
		if !known {
			key += ":" + address // counted on its own
		}
		attempt := func(ctx context.Context) error { return u.attempt(ctx, c, token, address, known) }
		if err := u.calls.do(ctx, key, attempt); err != nil {
			return err
		}
	}
	return u.addUser(ctx, user)
}

// cached returns a success that is not older than Stale.
func (u *Upstream) cached(c credential) (success, bool) {
	s, ok := u.successes.Get(c)
	return s, ok && u.Now().Sub(s.at) < Stale
}

// settled reports whether the cache alone says that a credential is good: the success is
// fresh, or the upstream gave no answer a moment ago.
func (u *Upstream) settled(c credential) bool {
	s, ok := u.cached(c)
	now := u.Now()
	return ok && (now.Sub(s.at) < Fresh || now.Sub(s.retriedAt) < retryInterval)
}

// attempt asks about a credential. Unless it is known to be good, it counts as a failure
// until the upstream says otherwise.
func (u *Upstream) attempt(ctx context.Context, c credential, token, address string, known bool) error {
	if !known && !u.settled(c) {
		ago, ok, err := u.Guard.LastSuccess(ctx, c.user, token, address)
		if err != nil {
			return err
		}
		if known = ok; ok {
			u.successes.Add(c, success{at: u.Now().Add(-ago)}) // in this process or another one
		}
	}
	if u.settled(c) {
		return nil // by another process, or by the call before this one
	}
	if !known {
		if err := u.Guard.CountCall(ctx, c.user, address); err != nil {
			return err
		}
	}
	now := u.Now()
	err := u.ask(ctx, c.user, token)
	switch {
	case err == nil:
		u.successes.Add(c, success{at: now})
		u.note("a credential is not known to other processes", u.Guard.Remember(ctx, c.user, token, address))
	case errors.Is(err, credentials.ErrUnauthorized):
		u.successes.Remove(c)
		if known { // the credential is bad even when these fail
			u.note("a credential that is not good any more is still exempt from limits", u.Guard.Forget(ctx, c.user, token, address))
			u.note("a failed sign-in was not counted", u.Guard.CountFailure(ctx, c.user, address))
		}
		return err
	default:
		u.warn("the upstream of auth.mode gives no answer", err)
		if s, ok := u.cached(c); ok {
			s.retriedAt = u.Now()
			u.successes.Add(c, s)
			err = nil
		}
	}
	if !known { // otherwise it counts until the window ends
		u.note("an attempt that did not fail still counts as a failure", u.Guard.Forgive(ctx, c.user, address))
	}
	return err
}

// note logs an error of Guard that does not change the answer, apart from a limit that is
// reached already.
func (u *Upstream) note(message string, err error) {
	var locked *credentials.LockedOutError
	if err != nil && !errors.As(err, &locked) {
		u.warn(message, err)
	}
}

// ask presents a credential to the upstream. The error is nil for a good one,
// credentials.ErrUnauthorized for a bad one, and ErrUnavailable otherwise.
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
	return parseAnswer(body, user)
}

// parseAnswer reads an answer with the status 200; its error is as that of ask.
func parseAnswer(body []byte, user int64) error {
	var info struct {
		Status string         `json:"status"`
		UserID jsontext.Value `json:"user_id"`
		User   struct {
			ID jsontext.Value `json:"id"`
		} `json:"user"`
	}
	// Members that Kabar does not use may be malformed.
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
			return fmt.Errorf("%w: the upstream names another user", credentials.ErrUnauthorized)
		}
	}
	return nil
}

// Check asks about a made-up credential, and returns an error unless the upstream
// refuses it.
func (u *Upstream) Check(ctx context.Context) error {
	err := u.ask(ctx, 1, "kabar-doctor")
	if err == nil {
		return errors.New("the upstream accepts a made-up token")
	}
	if errors.Is(err, credentials.ErrUnauthorized) {
		return nil
	}
	return err
}
