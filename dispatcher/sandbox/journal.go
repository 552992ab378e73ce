package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The values of Push.Platform.
const (
	PlatformFCM  = "fcm"
	PlatformAPNs = "apns"
	PlatformWeb  = "web"
)

// A Push is one request to send a push, and its answer. Dry runs and requests to other
// paths are not recorded as pushes.
type Push struct {
	// Platform is PlatformFCM, PlatformAPNs or PlatformWeb.
	Platform string
	// Token is the device token, or the name of a browser; empty for an FCM message to a
	// topic or condition, or without a target.
	Token string
	// Endpoint is the address of a browser's subscription; empty for phones.
	Endpoint string
	// ID is the apns-id, the name of an accepted FCM message, or the last part of the address
	// that Web Push gives an accepted push.
	ID string
	// Header holds the header fields of the request to APNs or Web Push, without the
	// credentials.
	Header http.Header
	// Body is the APNs payload, or the value of FCM's "message", as it was sent, or what the
	// browser decrypts. For a refused push it may be empty or invalid JSON, and it is
	// truncated if it is too large.
	Body json.RawMessage
	// At is when the request arrived.
	At time.Time
	// Answer is the HTTP status of the answer; 0 if there was none because the client
	// gave up or the connection was lost.
	Answer int
	// Reason is the FCM error code, APNs reason or error of Web Push; empty if the push was accepted, and
	// "unreadable" if the answer was a scripted body alone.
	Reason string

	project string // of an FCM message
	dryRun  bool   // nothing is sent: FCM's validate_only, APNs' token of zeros, or another path of Web Push
	conn    *connection
}

// Accepted reports whether the service accepted the push.
func (p *Push) Accepted() bool {
	return (p.Answer == http.StatusOK || p.Answer == http.StatusCreated) && p.Reason == ""
}

// A journal keeps the newest pushes of each service, and notifies subscribers and waiters.
type journal struct {
	onPush  func(*Push)
	history int

	// listeners is the number of subscribers and waiters. While it is 0 and no history
	// is kept, requests do not take the lock.
	listeners atomic.Int32

	mu      sync.Mutex
	kept    map[string]*ring
	last    uint64 // sequence number of the newest push
	subs    map[chan Push]struct{}
	changed chan struct{} // closed and replaced at every request and answer
	closed  bool
}

// A ring holds the newest pushes of one service. next is the index of the oldest one once
// the ring is full.
type ring struct {
	entries []entry
	next    int
}

// An entry is a push and its sequence number, by the order of the answers of all services.
type entry struct {
	number uint64
	push   Push
}

func newJournal(history int, onPush func(*Push)) *journal {
	return &journal{
		onPush:  onPush,
		history: history,
		kept:    map[string]*ring{PlatformFCM: {}, PlatformAPNs: {}, PlatformWeb: {}},
		subs:    make(map[chan Push]struct{}),
		changed: make(chan struct{}),
	}
}

// notify wakes the waiters for an event that is not a recorded push.
func (j *journal) notify() {
	if j.listeners.Load() == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wake()
}

// record keeps a push and notifies subscribers and waiters.
func (j *journal) record(p *Push) {
	if j.onPush != nil {
		j.onPush(p)
	}
	if j.history <= 0 && j.listeners.Load() == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep(p)
	for ch := range j.subs {
		select {
		case ch <- *p:
		default: // the subscriber is too slow; see Subscribe
		}
	}
	j.wake()
}

// keep stores p in place of the service's oldest push. The caller holds the lock.
func (j *journal) keep(p *Push) {
	if j.history <= 0 {
		return
	}
	j.last++
	e := entry{number: j.last, push: *p}
	r := j.kept[p.Platform]
	if len(r.entries) < j.history {
		r.entries = append(r.entries, e)
		return
	}
	r.entries[r.next] = e
	r.next = (r.next + 1) % j.history
}

// wake makes the waiters check their conditions. The caller holds the lock.
func (j *journal) wake() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// pushes returns the kept pushes of the platforms, in the order of their answers.
func (j *journal) pushes(platforms ...string) []Push {
	j.mu.Lock()
	var all []entry
	for _, platform := range platforms {
		all = append(all, j.kept[platform].entries...)
	}
	j.mu.Unlock()

	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	out := make([]Push, len(all))
	for i, e := range all {
		out[i] = e.push
	}
	return out
}

func (j *journal) subscribe(buffer int) (<-chan Push, func()) {
	ch := make(chan Push, buffer)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		close(ch)
		return ch, func() {}
	}
	j.subs[ch] = struct{}{}
	j.listeners.Add(1)
	return ch, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.unsubscribe(ch)
	}
}

// unsubscribe closes ch once. The caller holds the lock.
func (j *journal) unsubscribe(ch chan Push) {
	if _, ok := j.subs[ch]; !ok {
		return
	}
	delete(j.subs, ch)
	j.listeners.Add(-1)
	close(ch)
}

func (j *journal) wait(ctx context.Context, met func() bool) error {
	j.listeners.Add(1)
	defer j.listeners.Add(-1)
	for {
		j.mu.Lock()
		changed := j.changed
		j.mu.Unlock()
		if met() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("sandbox: waiting for pushes: %w", ctx.Err())
		}
	}
}

// close ends all subscriptions.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	for ch := range j.subs {
		j.unsubscribe(ch)
	}
}
