package provider_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// These tests and those of connections_test.go are what every sender has to pass: what it
// makes of answers, and of connections that fail.

// outcomes lists every outcome of an answer.
var outcomes = []push.Outcome{
	push.DeadToken, push.Refused, push.Unsendable, push.Later, push.SlowDown, push.Ambiguous, push.CredentialsRefused,
}

// Every answer that a sender distinguishes has its outcome, through the SDK and over HTTP/2,
// and costs one request; only one that refuses our credentials is followed by another
// request with new ones, at once. No outcome is missing.
func TestAnswers(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		var found []push.Outcome
		for _, s := range b.subject.says {
			found = append(found, s.want.Outcome)
			before := b.Count()
			b.Fail(sandbox.AnyToken, -1, s.answer)
			if got := b.send(t, b.delivery()); got != s.want {
				t.Errorf("%+v:\ngot  %+v\nwant %+v", s.answer, got, s.want)
			}
			if n := b.Count() - before; n != 1 && (n != 2 || s.want.Outcome != push.CredentialsRefused) {
				t.Errorf("%+v: %d requests", s.answer, n)
			}
		}
		for _, o := range outcomes {
			if slices.Contains(found, o) == slices.Contains(b.subject.never, o) {
				t.Errorf("the table has no answer that is %s, or has one and says that there is none", o)
			}
		}
		b.Fail(sandbox.AnyToken, 0, sandbox.Response{})
		if got := b.send(t, b.delivery()); got.Outcome != push.Accepted || got.ProviderID == "" || got.Reason != "" {
			t.Errorf("got %+v", got)
		}
	})
}

// A provider that asks to wait is obeyed, up to an hour, whatever else the answer means. A
// push that ends has nothing to wait for.
func TestRetryAfterOfProviders(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		for _, s := range b.subject.says {
			for asked, want := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second, 24 * time.Hour: time.Hour} {
				s.answer.RetryAfter = asked
				if s.want.Backoff == 0 {
					want = 0
				}
				b.Fail(sandbox.AnyToken, -1, s.answer)
				if got := b.send(t, b.delivery()); got.RetryAfter != want {
					t.Errorf("%+v: %+v, want %v", s.answer, got, want)
				}
			}
		}
	})
}

// What a status means.
const (
	ends    = "ends"
	laterOn = "later"
	ours    = "ours"
)

var kinds = map[push.Outcome]string{
	push.DeadToken:  ends,
	push.Refused:    ends,
	push.Unsendable: ends,
	push.Later:      laterOn,
	push.SlowDown:   laterOn,
	push.Ambiguous:  ours,

	push.CredentialsRefused: ours,
}

// Senders treat statuses alike that they know no more about: which ones are retried, which
// ones end a push, and which ones are our fault. What a stranger wrote becomes no reason.
func TestStatuses(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		for status, want := range map[int]string{
			301: ours, 302: ours, 307: ours,
			400: ends, 401: ours, 403: ours, 404: ours, 405: ends, 408: laterOn, 409: ends, 410: ends, 413: ends, 418: ends, 422: ends, 429: laterOn,
			500: laterOn, 501: laterOn, 502: laterOn, 503: laterOn, 504: laterOn, 599: laterOn,
		} {
			if other, ok := b.subject.statuses[status]; ok {
				want = other
			}
			before := b.Count()
			b.Answer(func(sandbox.Push) *sandbox.Response {
				return &sandbox.Response{Status: status, Reason: "Novel", NoDetails: true, RetryAfter: 7 * time.Second}
			})
			r := b.send(t, b.delivery())
			if kinds[r.Outcome] != want {
				t.Errorf("%d: %+v, want one that %s", status, r, want)
			}
			if want != ends && (r.RetryAfter != 7*time.Second || r.Backoff == 0) {
				t.Errorf("%d: %+v, want 7 s", status, r)
			}
			if r.Reason == "" || r.Reason == "Novel" {
				t.Errorf("%d: reason %q", status, r.Reason)
			}
			if n := b.Count() - before; n != 1 {
				t.Errorf("%d: %d requests", status, n)
			}
		}
	})
}

// Nothing but the provider's own answer accepts a push: neither a page of a captive portal,
// nor one that it redirects to.
func TestAnswersOfOthers(t *testing.T) {
	page := []byte("<!DOCTYPE html><title>Sign in</title>")
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		for _, status := range []int{200, 302, 400, 403, 404, 410, 502} {
			b.Fail(sandbox.AnyToken, -1, sandbox.Response{Status: status, Body: page})
			if r := b.send(t, b.delivery()); r.Outcome == push.Accepted || r.Outcome == push.Unsendable || r.Outcome == push.CredentialsRefused {
				t.Errorf("%d with a page: %+v", status, r)
			}
		}
	})
}

// Probes say whether the provider works, and reach no device.
func TestProbes(t *testing.T) {
	eachSender(t, sandbox.Options{History: 1}, options{}, func(t *testing.T, b *bench) {
		probe := func(want ...push.Outcome) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if r := b.sender.Probe(ctx); !slices.Contains(want, r.Outcome) {
				t.Errorf("got %+v, want %v", r, want)
			}
		}
		probe(push.Accepted)
		b.Fail(sandbox.AnyToken, 1, sandbox.Response{Status: 503})
		probe(push.Later)
		b.Fail(sandbox.AnyToken, -1, sandbox.Response{Status: 403, NoDetails: true})
		probe(push.Ambiguous, push.CredentialsRefused)
		b.Fail(sandbox.AnyToken, 0, sandbox.Response{})
		if err := b.Refuse(true); err != nil {
			t.Fatal(err)
		}
		b.DropConnections()
		b.wait(t, func() bool { return b.Connections() == 0 })
		probe(push.Later)
		if err := b.Refuse(false); err != nil {
			t.Fatal(err)
		}
		probe(push.Accepted)
		if n := len(b.Pushes()); n != 0 {
			t.Errorf("%d pushes were sent", n)
		}
	})
}

var errMoved = errors.New("moved") // what a check says once the phone belongs to somebody else

// A push whose check fails is not sent, and says why.
func TestUnsent(t *testing.T) {
	eachSender(t, sandbox.Options{}, options{}, func(t *testing.T, b *bench) {
		d := b.delivery()
		d.Check = func(context.Context) error { return errMoved }
		if r := b.send(t, d); r.Outcome != push.Unsent || r.Err != errMoved {
			t.Errorf("got %+v", r)
		}
		if n := b.Count(); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// A push with more in it than the provider takes is cut down to what identifies it, and
// arrives.
func TestHugePushes(t *testing.T) {
	eachSender(t, sandbox.Options{History: 1}, options{}, func(t *testing.T, b *bench) {
		d := b.delivery()
		d.Body = strings.Repeat("🇮🇩", 1000)
		d.Data = []push.Field{
			{Name: "type", Value: json.RawMessage(`"product"`)},
			{Name: "message", Value: json.RawMessage(`"` + strings.Repeat("\u2028<é>", 1000) + `"`)},
			{Name: "details", Value: json.RawMessage(`{"id":7,"description":"` + strings.Repeat("<kabar> ", 5000) + `"}`)},
		}
		if r := b.send(t, d); r.Outcome != push.Accepted {
			t.Fatalf("got %+v", r)
		}
		body := bytes.ReplaceAll(b.Pushes()[0].Body, []byte(`\"`), []byte(`"`))
		if !bytes.Contains(body, []byte(`{"id":7,"truncated":true}`)) {
			t.Errorf("got %s", body)
		}
	})
}
