package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newTestClient returns a client of a fake gateway that handler implements.
func newTestClient(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	server := httptest.NewServer(handler)
	address := strings.TrimPrefix(server.URL, "http://")
	c := newClient(address, address, "the key")
	t.Cleanup(func() { c.close(); server.Close() })
	return c
}

func TestPublish(t *testing.T) {
	var events atomic.Int64
	c := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := strings.Count(string(body), `"type":"transaction"`)
		events.Add(int64(n))
		if r.Header.Get("Authorization") != "Bearer the key" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("header %v", r.Header)
		}
		one := `{"status":"OK","duplicate":false}`
		if body[0] == '[' {
			one = `{"status":"OK","results":[` + strings.Repeat(one+",", n-1) + one + `]}`
		}
		_, _ = io.WriteString(w, one)
	})
	for _, batch := range []int{1, 4} {
		before := time.Now()
		sent, err := c.publish(t.Context(), requests(1, everyone(10), batch, true), pace{publishers: 3})
		if err != nil {
			t.Fatal(err)
		}
		if n := events.Swap(0); n != 10 || len(sent) != 10 {
			t.Errorf("batches of %d: %d events came, %d were sent", batch, n, len(sent))
		}
		for i, at := range sent {
			if at.Before(before) || at.After(time.Now()) {
				t.Errorf("batches of %d: event %d was sent at %v", batch, i, at)
			}
		}
	}
}

func TestPublishNotAccepted(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int
		batch        int
	}{
		{"duplicate", `{"status":"OK","duplicate":true}`, 202, 1},
		{"refused", `{"status":"ERROR","message":"no"}`, 422, 1},
		{"no answer of ours", `hello`, 200, 1},
		{"one of several refused", `{"status":"OK","results":[{"status":"OK"},{"status":"ERROR"}]}`, 200, 2},
		{"one of several a duplicate", `{"status":"OK","results":[{"status":"OK"},{"status":"OK","duplicate":true}]}`, 200, 2},
		{"too few results", `{"status":"OK","results":[{"status":"OK"}]}`, 200, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
			})
			if _, err := client.publish(t.Context(), requests(1, everyone(2), c.batch, true), pace{publishers: 2}); err == nil {
				t.Error("it was taken for accepted")
			}
		})
	}
}

func TestPublishPace(t *testing.T) {
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"OK"}`)
	})
	start := time.Now()
	sent, err := c.publish(t.Context(), requests(1, everyone(5), 1, true), pace{publishers: 5, rate: 100})
	if err != nil {
		t.Fatal(err)
	}
	// No event is sent before its turn. On a busy machine it may be sent late.
	slices.SortFunc(sent, time.Time.Compare)
	for i, at := range sent {
		if turn := start.Add(time.Duration(i) * 10 * time.Millisecond); at.Before(turn) {
			t.Errorf("event %d at 100 a second was sent %v too early", i, turn.Sub(at))
		}
	}
}

func TestSettled(t *testing.T) {
	var asked atomic.Int64
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		left := "0"
		if asked.Add(1) < 3 {
			left = "7"
		}
		_, _ = io.WriteString(w, "# HELP x\nkabar_outbox_entries{lane=\"bulk\"} 0\nkabar_outbox_entries{lane=\"urgent\"} "+left+"\n")
	})
	if err := c.settled(t.Context()); err != nil || asked.Load() != 3 {
		t.Errorf("%v after %d requests", err, asked.Load())
	}
}

func TestSettledGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	c := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "kabar_outbox_entries{lane=\"bulk\"} 1\n")
		cancel(enough)
	})
	if err := c.settled(ctx); !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSumOf(t *testing.T) {
	const page = "# TYPE a gauge\na{l=\"x\"} 1\na{l=\"y\"} 2.5\nab 4\nb nonsense\n"
	for _, c := range []struct {
		prefix string
		want   float64
		fails  bool
	}{
		{"a{", 3.5, false},
		{"ab", 4, false},
		{"missing", 0, true},
		{"b ", 0, true},
	} {
		if got, err := sumOf([]byte(page), c.prefix); got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", c.prefix, got, err)
		}
	}
}
