package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// redisError is an error reply from Redis.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

func TestErrorTable(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		err    error
		status int
		code   code
		retry  string
	}{
		"wrong credential":     {credentials.ErrUnauthorized, 401, unauthorized, ""},
		"another user's":       {devices.ErrNotOwner, 403, forbidden, ""},
		"no device":            {devices.ErrNotRegistered, 404, notFound, ""},
		"nothing there":        {inbox.ErrNotFound, 404, notFound, ""},
		"id used before":       {inbox.ErrConflict, 409, conflict, ""},
		"invalid device":       {&account.InvalidError{Field: "model", Problem: "is long"}, 422, invalid, ""},
		"invalid event":        {&event.InvalidError{Fields: map[string]string{"type": "is odd"}}, 422, invalid, ""},
		"locked out":           {&credentials.LockedOutError{RetryAfter: 1500 * time.Millisecond}, 429, rateLimited, "2"},
		"too few replicas":     {rdb.ErrReplicas, 503, unavailable, "2"},
		"store closed":         {rdb.ErrClosed, 503, unavailable, "2"},
		"client closed":        {redis.ErrClosed, 503, unavailable, "2"},
		"no free connection":   {redis.ErrPoolTimeout, 503, unavailable, "2"},
		"connection refused":   {refused, 503, unavailable, "2"},
		"connection lost":      {io.EOF, 503, unavailable, "2"},
		"out of time":          {context.DeadlineExceeded, 503, unavailable, "2"},
		"loading":              {redisError("LOADING Redis is loading the dataset in memory"), 503, unavailable, "2"},
		"a replica":            {redisError("READONLY You can't write against a read only replica."), 503, unavailable, "2"},
		"master down":          {redisError("MASTERDOWN Link with MASTER is down"), 503, unavailable, "2"},
		"cluster down":         {redisError("CLUSTERDOWN The cluster is down"), 503, unavailable, "2"},
		"no memory":            {redisError("OOM command not allowed when used memory > 'maxmemory'."), 503, unavailable, "2"},
		"no disk":              {redisError("MISCONF Errors writing to the AOF file"), 503, unavailable, "2"},
		"too many clients":     {redisError("ERR max number of clients reached"), 503, unavailable, "2"},
		"script error":         {redisError("ERR user_script:1: sEcret"), 500, internal, ""},
		"anything else":        {errors.New("sEcret"), 500, internal, ""},
		"two, one of them net": {errors.Join(errors.New("sEcret"), refused), 503, unavailable, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			h := New(Options{
				Counters:    fakeCounters{err: fmt.Errorf("wrapped: %w", tc.err)},
				Credentials: fakeCredentials{},
				Publisher:   fakePublisher{},
			})
			got := request(h, "GET", "/v2/notifications/unreads.json", "")
			if got.status != tc.status || got.header.Get("Retry-After") != tc.retry {
				t.Errorf("status %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
			}
			if e := got.envelope(t); e.Status != "ERROR" || e.Code != tc.code || e.Message == "" {
				t.Errorf("envelope %s", got.body)
			}
			if strings.Contains(got.body, "sEcret") {
				t.Errorf("shows the error's text: %s", got.body)
			}
		})
	}
}

// request calls a handler directly, as a user.
func request(h http.Handler, method, path, body string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth("66", "t")
	return serve(h, r)
}

// requestAsShop calls a handler directly, as a service.
func requestAsShop(h http.Handler, method, path, body string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+shop)
	return serve(h, r)
}

func serve(h http.Handler, r *http.Request) answer {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{call: call{method: r.Method, path: r.URL.Path}, status: w.Code, header: w.Header(), body: w.Body.String()}
}

func TestEveryCodeHasAStatusAndAText(t *testing.T) {
	for c, is := range codes {
		if is.status < 400 || !slices.Contains(text.Default().IDs(), textOfCode+string(c)) {
			t.Errorf("%s: %+v", c, is)
		}
	}
	for _, known := range errorCodes {
		if codes[known.code].status == 0 {
			t.Errorf("%v: no code %q", known.err, known.code)
		}
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	log := &logBuffer{}
	h := New(Options{
		Counters:    fakeCounters{panic: "out of order"},
		Credentials: fakeCredentials{},
		Publisher:   fakePublisher{},
		Log:         slog.New(slog.NewTextHandler(log, nil)),
	})
	got := request(h, "GET", "/v2/notifications/unreads.json", "")
	if e := got.envelope(t); got.status != 500 || e.Code != internal || strings.Contains(got.body, "out of order") {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	for _, want := range []string{"out of order", "fakeCounters.Unreads", "/v2/notifications/unreads.json"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
}

func TestRedisAwayIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		h := New(Options{
			Counters:    fakeCounters{err: io.EOF},
			Credentials: fakeCredentials{},
			Publisher:   fakePublisher{},
			Log:         slog.New(slog.NewTextHandler(log, nil)),
		})
		for minute := range 3 {
			for range 20 {
				request(h, "GET", "/v2/notifications/unreads.json", "")
			}
			if lines := strings.Count(log.String(), "Redis is unavailable"); lines != minute+1 {
				t.Errorf("%d lines after %d minutes", lines, minute)
			}
			time.Sleep(time.Minute) // on the synctest bubble's clock
		}
	})
}

func TestNothingIsLoggedForAClientThatLeft(t *testing.T) {
	log := &logBuffer{}
	h := New(Options{
		Counters:    fakeCounters{err: context.Canceled},
		Credentials: fakeCredentials{},
		Publisher:   fakePublisher{},
		Log:         slog.New(slog.NewTextHandler(log, nil)),
	})
	request(h, "GET", "/v2/notifications/unreads.json", "")
	if log.String() != "" {
		t.Error(log)
	}
}
