package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// A meter measures how long the pushes to devices without a fault take from the first
// request to publish them until the provider accepts them. It is safe for concurrent use,
// and all its methods do nothing on a nil meter.
type meter struct {
	mu    sync.Mutex
	owed  map[owedKey]owedPush
	phase *phase
}

// An owedKey is a push to a device by its text: the id of an event, or a chat message.
type owedKey struct{ token, text string }

type owedPush struct {
	lane  push.Lane
	sent  time.Time
	phase *phase
}

// A phase is a part of a trial: before, during or after a fault. A push is counted in the
// phase in which it was published.
type phase struct {
	name       string
	owed       map[string]int // pushes that have not arrived, by platform
	late       lateness
	superseded map[string]int // messages that a newer one overtook, by platform
}

// A pushKind is what lateness is compared by.
type pushKind struct {
	platform string
	lane     push.Lane
}

// lateness is how long pushes took.
type lateness map[pushKind][]time.Duration

func newMeter() *meter {
	m := &meter{owed: make(map[owedKey]owedPush)}
	m.begin("before")
	return m
}

// begin begins a phase, and returns it.
func (m *meter) begin(name string) *phase {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.phase = &phase{name: name, owed: make(map[string]int), late: make(lateness), superseded: make(map[string]int)}
	return m.phase
}

// expect records that a push is about to be published for the first time.
func (m *meter) expect(token, text string, l push.Lane, at time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owed[owedKey{token, text}] = owedPush{l, at, m.phase}
	m.phase.owed[platformOf(token)]++
}

// arrived records that a device got a push. Of a conversation's messages only the newest
// has to arrive.
func (m *meter) arrived(token, text string, at time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key, platform := owedKey{token, text}, platformOf(token)
	p, owed := m.owed[key]
	if !owed {
		return // a repeat, a reminder or a message that was overtaken
	}
	delete(m.owed, key)
	p.phase.owed[platform]--
	kind := pushKind{platform, p.lane}
	p.phase.late[kind] = append(p.phase.late[kind], at.Sub(p.sent))
	sender, number, ok := parseChat(text)
	for key, p := range m.owed {
		if from, n, isChat := parseChat(key.text); ok && isChat && key.token == token && from == sender && n < number {
			delete(m.owed, key)
			p.phase.owed[platform]--
			p.phase.superseded[platform]++
		}
	}
}

// missing returns how many pushes of a phase have not arrived on the platforms.
func (m *meter) missing(p *phase, platforms ...string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, platform := range platforms {
		n += p.owed[platform]
	}
	return n
}

// examples names some of the pushes of a phase that have not arrived.
func (m *meter) examples(p *phase) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, o := range m.owed {
		if o.phase == p && len(names) < 10 {
			names = append(names, fmt.Sprintf("%s to %s, published %s ago", key.text, key.token, time.Since(o.sent).Round(time.Second)))
		}
	}
	return names
}

// taken returns what a phase has measured so far.
func (m *meter) taken(p *phase) (late lateness, superseded map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	late = make(lateness)
	late.add(p.late)
	return late, maps.Clone(p.superseded)
}

func (l lateness) add(more lateness) {
	for kind, late := range more {
		l[kind] = append(l[kind], late...)
	}
}

// kinds returns the kinds in order.
func (l lateness) kinds() []pushKind {
	return slices.SortedFunc(maps.Keys(l), func(a, b pushKind) int {
		if a.platform != b.platform {
			return strings.Compare(a.platform, b.platform)
		}
		return int(a.lane) - int(b.lane)
	})
}

// quantiles returns the median, the 99th percentile and the maximum of a kind, and 0 when
// there is none.
func (l lateness) quantiles(k pushKind) (p50, p99, most time.Duration) {
	late := slices.Sorted(slices.Values(l[k]))
	n := len(late)
	if n == 0 {
		return 0, 0, 0
	}
	return late[n/2], late[n*99/100], late[n-1]
}

// String is a table with a line for each kind.
func (l lateness) String() string {
	var b strings.Builder
	for _, k := range l.kinds() {
		p50, p99, most := l.quantiles(k)
		fmt.Fprintf(&b, "  %-7s %-6s  pushes %5d  p50 %7.1f ms  p99 %7.1f ms  most %7.1f ms\n", k.platform, k.lane, len(l[k]), ms(p50), ms(p99), ms(most))
	}
	return b.String()
}

// platformOf is the platform of a stable token.
func platformOf(token string) string {
	if strings.HasPrefix(token, "I") {
		return "ios"
	}
	return "android"
}

// laneOf is the lane of an event of the load.
func laneOf(event string) push.Lane {
	if strings.Contains(event, "@") {
		return push.Bulk
	}
	return push.Urgent
}

// chatText is the text of the nth message of a sender. It occurs in nothing else.
func chatText(sender, n int) string { return fmt.Sprintf("chat-%d-%d-", sender, n) }

// parseChat reads a chatText.
func parseChat(text string) (sender, n int, ok bool) {
	parts := strings.Split(text, "-")
	if len(parts) != 4 || parts[0] != "chat" {
		return 0, 0, false
	}
	sender, _ = strconv.Atoi(parts[1])
	n, _ = strconv.Atoi(parts[2])
	return sender, n, true
}
