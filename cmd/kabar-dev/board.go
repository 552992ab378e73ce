package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/devices"
)

const (
	maxKept   = 100 // pushes that are shown to a page that opens later
	maxBehind = 64  // pushes that may be queued for a page
)

// A pushView is the JSON of an arrival on the page.
type pushView struct {
	At       string     `json:"at"` // hh:mm:ss
	Phone    phoneView  `json:"phone"`
	Owner    string     `json:"owner"` // "" when nobody has that phone
	Provider string     `json:"provider"`
	Title    string     `json:"title"`
	Body     string     `json:"body"`
	Silent   bool       `json:"silent"`
	Problem  string     `json:"problem"`         // why it did not arrive, or ""
	Tag      string     `json:"tag"`             // pushes of the same one replace each other
	Badge    *int       `json:"badge,omitempty"` // on the app's icon, if the push sets it
	Facts    []factView `json:"facts"`
}

type factView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A phoneView is the JSON of a phone on the page. Its id is a digest, so that the page does
// not get the device token.
type phoneView struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Platform string `json:"platform"`
}

func viewPhone(d devices.Device) phoneView {
	sum := sha256.Sum256([]byte(platformNames[d.Platform] + " " + d.Token))
	return phoneView{
		ID:       hex.EncodeToString(sum[:8]),
		Name:     cmp.Or(phoneName(d), "phone"),
		Platform: platformNames[d.Platform],
	}
}

func viewPush(a arrival) pushView {
	m := readMessage(a.push)
	v := pushView{
		At: a.push.At.Local().Format("15:04:05"), Phone: viewPhone(a.phone), Owner: a.owner,
		Provider: m.provider, Title: m.title, Body: m.body, Silent: m.silent,
		Problem: refusal(m.provider, a.push), Tag: m.tag, Badge: m.badge,
	}
	for _, f := range m.facts {
		if f.value != "" {
			v.Facts = append(v.Facts, factView{f.name, f.value})
		}
	}
	return v
}

// A notice is a push on the board: its number, counted from 1 in the order of arrival, and
// its pushView as JSON.
type notice struct {
	number int
	view   []byte
}

// A board sends pushes to the open pages, and keeps the newest for pages that open later.
// It is safe for concurrent use.
type board struct {
	mu    sync.Mutex
	last  int
	kept  []notice
	pages map[chan notice]struct{}
}

func newBoard() *board { return &board{pages: make(map[chan notice]struct{})} }

// show puts an arrival on the board. A page that is too far behind is disconnected; it
// reconnects and reads what was kept.
func (b *board) show(a arrival) {
	view, err := json.Marshal(viewPush(a))
	if err != nil {
		// Only invalid UTF-8 fails, which FCM and APNs refuse.
		view = fmt.Appendf(nil, `{"problem":"it cannot be shown","facts":[]}`)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	n := notice{b.last, view}
	if b.kept = append(b.kept, n); len(b.kept) > maxKept {
		b.kept = b.kept[1:]
	}
	for page := range b.pages {
		select {
		case page <- n:
		default:
			delete(b.pages, page)
			close(page)
		}
	}
}

// watch returns the kept notices after a number, and a channel of the following ones, which
// is closed when the page is too far behind. Call leave when done.
func (b *board) watch(after int) (kept []notice, follow <-chan notice, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	page := make(chan notice, maxBehind)
	b.pages[page] = struct{}{}
	for _, n := range b.kept {
		if n.number > after {
			kept = append(kept, n)
		}
	}
	return kept, page, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.pages, page)
	}
}
