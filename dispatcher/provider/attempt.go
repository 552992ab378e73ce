package provider

import (
	"context"
	"net/http"
)

// maxBody bounds what is kept of an answer, in bytes. Both providers' longest
// answers are a tenth of it.
const maxBody = 64 << 10

// An Attempt is one request to a provider and its raw answer. The SDKs hide
// parts of answers, and one of them invents some; what an answer means is
// decided on this record alone.
//
// Lay an Attempt under a request with [WithAttempt]; the [Pool] fills it in
// before the SDK learns of the answer. If the SDK makes no request at all, it
// stays as it was.
type Attempt struct {
	// Authorization, unless empty, is sent as the header of that name.
	Authorization string

	// Status is the answer's status code, zero without an answer.
	Status int
	// Header is the answer's header, nil without an answer.
	Header http.Header
	// Body is the answer's body, at most 64 KiB of it.
	Body []byte
	// Err says why there is no answer, or why its body broke off.
	Err error
}

// Answered reports whether the provider answered.
func (a *Attempt) Answered() bool { return a.Status != 0 }

type attemptKey struct{}

// WithAttempt returns a context whose request through a [Pool] is recorded in
// a. It serves one request at a time; a second one overwrites the record.
func WithAttempt(ctx context.Context, a *Attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// attemptOf returns the attempt that the request is recorded in, or nil.
func attemptOf(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// authorize returns the header with the attempt's authorization.
func (a *Attempt) authorize(h http.Header) http.Header {
	if a == nil || a.Authorization == "" {
		return h
	}
	h = h.Clone() // a RoundTripper leaves the caller's request alone
	h.Set("Authorization", a.Authorization)
	return h
}

// record notes what came back.
func (a *Attempt) record(resp *http.Response, body []byte, err error) {
	if a == nil {
		return
	}
	a.Status, a.Header, a.Body, a.Err = 0, nil, body, err
	if resp != nil {
		a.Status, a.Header = resp.StatusCode, resp.Header
	}
}
