package provider

import (
	"context"
	"net/http"
)

// maxBody bounds the part of an answer's body that is read, in bytes. The longest answers
// of all providers have a tenth of that.
const maxBody = 64 << 10

// An Attempt records one request to a provider and its raw answer. Senders classify this
// record, because the SDKs hide parts of answers, and FCM's makes up answers of its own.
//
// [WithAttempt] attaches an Attempt to a request's context; the [Pool] fills it in before
// the SDK sees the answer. It stays unchanged if the SDK makes no request. It is not safe
// for concurrent use.
type Attempt struct {
	// Authorization is the value of the Authorization header to send; none if empty.
	Authorization string
	// Check, unless nil, is called each time right before the request goes onto a
	// connection, with the request's context. If it fails, the request is not made, and
	// Unsent is its error.
	Check func(context.Context) error
	// Cancel says that the request ends with its context, instead of after
	// [Options.Timeout] alone.
	Cancel bool

	// Status is the answer's HTTP status code; zero without an answer.
	Status int
	// Header is the answer's header; nil without an answer.
	Header http.Header
	// Body is the answer's body, at most 64 KiB of it.
	Body []byte
	// Err is why there is no answer, or why its body broke off; nil otherwise.
	Err error
	// Lost says that there is no answer, or only a part of it, to a request that the
	// provider may have processed.
	Lost bool
	// Unsent is the error of Check if that ended the attempt; nil otherwise.
	Unsent error
}

// Answered reports whether the provider answered.
func (a *Attempt) Answered() bool { return a.Status != 0 }

type attemptKey struct{}

// WithAttempt returns a context whose request through a [Pool] is recorded in a. It is
// for one request at a time; the next one overwrites the record.
func WithAttempt(ctx context.Context, a *Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// attemptOf returns the attempt of a request's context, or a new one.
func attemptOf(ctx context.Context) *Attempt {
	if a, ok := ctx.Value(attemptKey{}).(*Attempt); ok {
		return a
	}
	return new(Attempt)
}

// authorize returns the header with the attempt's Authorization added.
func (a *Attempt) authorize(h http.Header) http.Header {
	if a.Authorization == "" {
		return h
	}
	h = h.Clone() // a RoundTripper leaves the caller's request alone
	h.Set("Authorization", a.Authorization)
	return h
}

// check calls Check.
func (a *Attempt) check(ctx context.Context) error {
	if a.Check == nil {
		return nil
	}
	a.Unsent = a.Check(ctx)
	return a.Unsent
}

// record stores the answer.
func (a *Attempt) record(resp *http.Response, body []byte, err error) {
	a.Status, a.Header, a.Body, a.Err = 0, nil, body, err
	if resp != nil {
		a.Status, a.Header = resp.StatusCode, resp.Header
	}
}
