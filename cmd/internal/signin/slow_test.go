package signin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A roundTrip is a function used as an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// silence never answers. It returns when the request's context ends.
func silence(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestUpstreamIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newBackend()
		slow := false
		u, err := NewUpstream(UpstreamOptions{
			Options: Options{Guard: o, AddUser: o.addUser}, URL: "http://upstream.test/",
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if slow {
					return silence(r)
				}
				return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(info))}, nil
			}),
		})
		check(t, err)
		defer u.Close()
		signIn := func(user int64, want error, takes time.Duration) {
			t.Helper()
			start := time.Now()
			if err := u.Authenticate(t.Context(), user, "tok3n", home); !is(err, want) {
				t.Errorf("signed in: %v, want %v", err, want)
			}
			if took := time.Since(start); took != takes {
				t.Errorf("after %v, want %v", took, takes)
			}
		}
		signIn(ani, nil, 0)
		slow = true
		signIn(budi, ErrUnavailable, defaultTimeout)
		time.Sleep(Fresh)
		signIn(ani, nil, defaultTimeout) // its result is stale by now
		signIn(ani, nil, 0)
		if n := o.counted(budi, home); n != 0 {
			t.Errorf("%d failures", n)
		}
	})
}

// An upstream that sends its body too slowly runs into the timeout as well.
func TestUpstreamTrickles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newBackend()
		u, err := NewUpstream(UpstreamOptions{Options: o.options(), URL: "http://upstream.test/",
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				body, w := io.Pipe()
				context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
				return &http.Response{StatusCode: 200, Body: body}, nil
			}),
		})
		check(t, err)
		defer u.Close()
		if err := u.Authenticate(t.Context(), ani, "tok3n", home); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	})
}

// Close ends the requests in progress. Later sign-ins make none.
func TestUpstreamCloses(t *testing.T) {
	asked := make(chan bool, 1)
	u, err := NewUpstream(UpstreamOptions{Options: newBackend().options(), URL: "http://upstream.test/",
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) { asked <- true; return silence(r) })})
	check(t, err)
	done := make(chan error)
	go func() { done <- u.Authenticate(context.Background(), ani, "tok3n", home) }()
	<-asked
	check(t, u.Close())
	for _, err := range []error{<-done, u.Authenticate(t.Context(), ani, "tok3n", home)} {
		if !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
}
