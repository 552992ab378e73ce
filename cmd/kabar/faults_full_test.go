package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// connect returns a client of the site's Redis.
func (s *site) connect() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr()})
	s.t.Cleanup(func() { client.Close() })
	return client
}

// size returns the number of entries of all keys that match a pattern.
func (s *site) size(client *redis.Client, pattern string, size func(ctx context.Context, key string) *redis.IntCmd) (n int) {
	s.t.Helper()
	keys, err := client.Keys(s.t.Context(), pattern).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, key := range keys {
		size, err := size(s.t.Context(), key).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		n += int(size)
	}
	return n
}

// unsettled returns how many pushes are in the outbox or delayed.
func (s *site) unsettled(client *redis.Client) (n int) {
	s.t.Helper()
	counts, err := unfinished(s.t.Context(), client)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, left := range counts {
		n += int(left)
	}
	return n
}

// onceEach fails the test unless each event's push was accepted once and there is no dead
// letter.
func (s *site) onceEach(client *redis.Client, token string, events int) {
	s.t.Helper()
	for message, n := range s.count(token) {
		if n != 1 {
			s.t.Errorf("%q was pushed %d times", message, n)
		}
	}
	if n := len(s.count(token)); n != events {
		s.t.Errorf("%d events were pushed, want %d", n, events)
	}
	if n := s.size(client, "kabar:*:dead", client.XLen); n != 0 {
		s.t.Errorf("%d dead letters", n)
	}
}

// At maxmemory publishing is refused, and pushes that were accepted before are sent once
// and settled.
func TestFullRedis(t *testing.T) {
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_PUSH_IN_FLIGHT_URGENT=1") // no attempt exceeds its deadline
	first := s.serve()
	s.serve()
	first.user(66)
	first.device(66, "android", "A")
	client := s.connect()

	s.sandbox.FCM.SetLatency(100 * time.Millisecond)
	s.sandbox.FCM.Fail("A", 5, sandbox.Response{Reason: "UNAVAILABLE", RetryAfter: time.Second})
	const events = 100
	var all []string
	for i := range events {
		all = append(all, dompetEvent(fmt.Sprint("e", i), 66))
	}
	// In one request, before much of it is pushed.
	if status, answer := first.call("POST", "/v2/events.json", serviceKey, asJSON, "["+strings.Join(all, ",")+"]"); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	s.limitMemory(client, "1")
	if n := s.unsettled(client); n == 0 {
		t.Fatal("everything was settled before the memory was full")
	}
	status, answer, err := first.try("POST", "/v2/events.json", serviceKey, asJSON, dompetEvent("refused", 66))
	if err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("publishing: %d %v %v", status, answer, err)
	}
	s.arrive("everything pushed and settled", func() bool { return s.unsettled(client) == 0 })
	s.onceEach(client, "A", events)
	s.limitMemory(client, "0")
	first.publish(dompetEvent("after", 66))
	s.arrive("the next event pushed", func() bool { return s.unsettled(client) == 0 && len(s.count("A")) == events+1 })
	s.onceEach(client, "A", events+1)
}

func (s *site) limitMemory(client *redis.Client, bytes string) {
	s.t.Helper()
	if err := client.ConfigSet(s.t.Context(), "maxmemory", bytes).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// Redis is away for longer than a lease while pushes are in flight. Pushes that the
// provider accepted are not repeated: the processes live and keep the outcomes.
func TestOutcomesSurviveAnOutage(t *testing.T) {
	s := newSite(t, "--appendfsync", "always")
	s.vars = append(s.vars, "KABAR_PUSH_LEASE=12s")
	processes := []*process{s.serve(), s.serve()}
	processes[0].user(66)
	processes[0].device(66, "android", "A")

	const events = 60
	var accepting atomic.Bool
	var once sync.Once
	killed := make(chan error, 1)
	s.sandbox.FCM.Answer(func(sandbox.Push) *sandbox.Response {
		if !accepting.Load() {
			return &sandbox.Response{Reason: "UNAVAILABLE", RetryAfter: time.Second}
		}
		once.Do(func() { killed <- s.redis.Kill() })
		return nil
	})
	for i := range events {
		processes[i%2].publish(dompetEvent(fmt.Sprint("e", i), 66))
	}
	accepting.Store(true)
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	lost := time.Now()
	s.arrive("outcomes were not written for longer than a lease", func() bool { return time.Since(lost) > 14*time.Second })
	s.restartRedis(t)
	client := s.connect()
	s.arrive("everything pushed and settled", func() bool { return s.unsettled(client) == 0 })
	s.onceEach(client, "A", events)
}
