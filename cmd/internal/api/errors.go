package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/cmd/internal/signin"
	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/devices/ratelimit"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/live"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/attachments"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A code is the stable, machine-readable name of a failure.
type code string

const (
	malformed        code = "malformed"
	unauthorized     code = "unauthorized"
	forbidden        code = "forbidden"
	notFound         code = "not_found"
	methodNotAllowed code = "method_not_allowed"
	conflict         code = "conflict"
	gone             code = "gone"
	tooLarge         code = "too_large"
	unsupportedMedia code = "unsupported_media_type"
	invalid          code = "invalid"
	upgradeRequired  code = "upgrade_required"
	rateLimited      code = "rate_limited"
	internal         code = "internal"
	unavailable      code = "unavailable"
)

// codes maps each code to its status. Its text has the id textOfCode + code; where own is
// set, an endpoint may answer with a documented text of its own instead (see because).
var codes = map[code]struct {
	status int
	own    bool
}{
	malformed:        {http.StatusBadRequest, true},
	unauthorized:     {http.StatusUnauthorized, false},
	forbidden:        {http.StatusForbidden, true},
	notFound:         {http.StatusNotFound, true},
	methodNotAllowed: {http.StatusMethodNotAllowed, false},
	conflict:         {http.StatusConflict, true},
	gone:             {http.StatusGone, false},
	tooLarge:         {http.StatusRequestEntityTooLarge, true},
	unsupportedMedia: {http.StatusUnsupportedMediaType, true},
	invalid:          {http.StatusUnprocessableEntity, true},
	upgradeRequired:  {http.StatusUpgradeRequired, false},
	rateLimited:      {http.StatusTooManyRequests, false},
	internal:         {http.StatusInternalServerError, false},
	unavailable:      {http.StatusServiceUnavailable, false},
}

// textOfCode begins the ids of the codes' texts.
const textOfCode = "api.failure."

// errorCodes maps the errors of other packages to codes.
var errorCodes = []struct {
	err  error
	code code
}{
	{credentials.ErrUnauthorized, unauthorized},
	{devices.ErrNotOwner, forbidden},
	{devices.ErrNotRegistered, notFound},
	{inbox.ErrNotFound, notFound},
	{inbox.ErrConflict, conflict},
	{broadcast.ErrState, conflict},
	{chat.ErrUnknownReceiver, notFound},
	{chat.ErrAdminsOnly, forbidden},
	{attachments.ErrNotFound, notFound},
	{live.ErrClosed, unavailable},
	{signin.ErrUnavailable, unavailable},
	{rdb.ErrReplicas, unavailable},
	{rdb.ErrSilent, unavailable},
	{rdb.ErrFull, unavailable},
	{inbox.ErrErasing, unavailable},
	{inbox.ErrErased, unavailable}, // after the request was authenticated; the next one is refused
	{account.ErrErased, unavailable},
	{attachments.ErrErased, unavailable},
	{rdb.ErrClosed, unavailable},
	{redis.ErrClosed, unavailable},
	{redis.ErrPoolTimeout, unavailable},
	{redis.ErrPoolExhausted, unavailable},
	{context.DeadlineExceeded, unavailable},
	{context.Canceled, unavailable}, // nobody is left to read it
	{io.EOF, unavailable},
	{io.ErrUnexpectedEOF, unavailable},
}

// redisUnavailable lists the prefixes of errors from a Redis that cannot serve for now: it
// is starting, failing over, full, or unable to write its file.
var redisUnavailable = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "NOREPLICAS",
	"OOM", "MISCONF", "BUSY", "max number of clients reached",
}

// retryAfter is the Retry-After of answers while Redis or the sign-in service is
// unavailable.
const retryAfter = 2 * time.Second

// A failure is an answer other than success, as an error.
type failure struct {
	code   code
	text   string            // the id of the message's text; that of the code when empty
	fields map[string]string // the problem of each parameter
	also   map[string]any    // documented members in addition to status and message
	header map[string]string
	user   int64 // the one who gets the answer; 0 when nobody has signed in
	cause  error // for the log; nil when there is nothing to add
}

// Error implements error.
func (f *failure) Error() string {
	if f.cause != nil {
		return string(f.code) + ": " + f.cause.Error()
	}
	return string(f.code)
}

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

// wrong is the failure of one parameter.
func wrong(field, problem string) *failure {
	return &failure{code: invalid, fields: map[string]string{field: problem}}
}

// because gives err the documented text with this id, unless the text of its code is
// fixed.
func because(text string, err error) error {
	f := *failureOf(err)
	if codes[f.code].own {
		f.text = text
	}
	return &f
}

// with adds documented members to the answer of a failure.
func with(members map[string]any, err error) error {
	f := *failureOf(err)
	f.also = members
	return &f
}

// failureOf turns any error into a failure. An unknown error is an internal one.
func failureOf(err error) *failure {
	var (
		failed  *failure
		device  *account.InvalidError
		event   *event.InvalidError
		locked  *credentials.LockedOutError
		limit   *chat.LimitError
		many    *ratelimit.LimitError
		network net.Error
	)
	switch {
	case errors.As(err, &failed):
		return failed
	case errors.As(err, &device):
		return wrong(device.Field, device.Problem)
	case errors.As(err, &event):
		return &failure{code: invalid, fields: event.Fields}
	case errors.As(err, &locked):
		return &failure{code: rateLimited, header: map[string]string{"Retry-After": seconds(locked.RetryAfter)}}
	case errors.As(err, &limit):
		return &failure{code: rateLimited, header: map[string]string{"Retry-After": seconds(limit.RetryAfter)}}
	case errors.As(err, &many):
		return &failure{code: rateLimited, header: map[string]string{"Retry-After": seconds(many.RetryAfter)}}
	}
	for _, known := range errorCodes {
		if errors.Is(err, known.err) {
			return newFailure(known.code, err)
		}
	}
	if _, ok := errors.AsType[*attachments.BucketError](err); ok {
		return newFailure(unavailable, err)
	}
	hasPrefix := func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) }
	if errors.As(err, &network) || slices.ContainsFunc(redisUnavailable, hasPrefix) {
		return newFailure(unavailable, err)
	}
	return newFailure(internal, err)
}

func newFailure(c code, cause error) *failure {
	f := &failure{code: c, cause: cause}
	if c == unavailable {
		f.header = map[string]string{"Retry-After": seconds(retryAfter)}
	}
	return f
}

// seconds rounds up to whole seconds, the unit of Retry-After.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// envelope is the failure as JSON, with this message.
func (f *failure) envelope(message string) []byte {
	body, err := json.Marshal(struct {
		Status  string            `json:"status"`
		Message string            `json:"message"`
		Code    code              `json:"code"`
		Errors  map[string]string `json:"errors,omitzero"`
		Also    map[string]any    `json:",embed"`
	}{"ERROR", message, f.code, f.fields, f.also}, json.Deterministic(true))
	if err != nil {
		panic(fmt.Sprintf("marshal envelope: %v", err)) // texts and numbers always marshal
	}
	return body
}

func (f *failure) textID() string {
	if f.text != "" {
		return f.text
	}
	return textOfCode + string(f.code)
}

// failures turns errors into replies, and logs those that are not the client's fault.
type failures struct {
	language *language
	log      *slog.Logger
	outages  throttles // of log lines about something that is unavailable
}

// fail returns the reply to an error. It logs the cause of failures that are not the
// client's fault; the reply does not tell it.
func (fs *failures) fail(pattern string, r *http.Request, err error) reply {
	f := failureOf(err)
	fs.report(pattern, f)
	return fs.failed(r, f)
}

// failed returns the reply to a failure, in the language of its user.
func (fs *failures) failed(r *http.Request, f *failure) reply {
	user := f.user
	if f.code == unavailable || f.code == internal {
		user = 0 // do not ask Redis for the user's language: it may be what failed
	}
	return reply{status: codes[f.code].status, body: f.envelope(fs.language.word(r, user, f.textID())), header: f.header}
}

// report logs a failure that is not the client's fault.
func (fs *failures) report(pattern string, f *failure) {
	switch {
	case f.code == internal:
		fs.log.Error("request failed", "route", pattern, "error", f.cause)
	case f.code == unavailable && !errors.Is(f.cause, context.Canceled):
		what, throttle := "Redis is unavailable", &fs.outages.redis
		if errors.Is(f.cause, signin.ErrUnavailable) {
			what, throttle = "the sign-in service is unavailable", &fs.outages.signIn
		} else if _, ok := errors.AsType[*attachments.BucketError](f.cause); ok {
			what, throttle = "the bucket of attachments is unavailable", &fs.outages.bucket
		}
		if throttle.pass(time.Now()) {
			fs.log.Warn(what, "route", pattern, "error", f.cause)
		}
	}
}

// throttles are those of what may be unavailable, so that no outage hides another one.
type throttles struct{ redis, signIn, bucket throttle }

// A throttle lets something pass once a minute.
type throttle struct{ next atomic.Int64 }

func (t *throttle) pass(now time.Time) bool {
	next := t.next.Load()
	return now.UnixNano() >= next && t.next.CompareAndSwap(next, now.Add(time.Minute).UnixNano())
}
