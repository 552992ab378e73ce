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
	boardKept   = 100 // pushes that a page finds which is opened later
	boardBehind = 64  // pushes that may wait for one page
)

// A pushView is an arrival as the page shows it.
type pushView struct {
	At       string     `json:"at"` // hh:mm:ss
	Phone    phoneView  `json:"phone"`
	Owner    string     `json:"owner"` // "" when nobody has that phone
	Provider string     `json:"provider"`
	Title    string     `json:"title"`
	Body     string     `json:"body"`
	Silent   bool       `json:"silent"`
	Problem  string     `json:"problem"`         // why it did not arrive; "" when it did
	Tag      string     `json:"tag"`             // pushes of the same one replace each other
	Badge    *int       `json:"badge,omitempty"` // on the app's icon, where the push says it
	Facts    []factView `json:"facts"`
}

type factView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A phoneView is a phone as the page knows it. Its id is made of the device token,
// which stays here.
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

// A notice is a push on the board: its number, from 1 in the order of arrival, and
// the JSON of its view.
type notice struct {
	number int
	view   []byte
}

// A board tells the pages that are open of pushes, and keeps the newest for those
// that open later. It may be used concurrently.
type board struct {
	mu    sync.Mutex
	last  int
	kept  []notice
	pages map[chan notice]struct{}
}

func newBoard() *board { return &board{pages: make(map[chan notice]struct{})} }

// show puts an arrival on the board. A page that is too far behind is cut off: it
// comes back and reads what was kept.
func (b *board) show(a arrival) {
	view, err := json.Marshal(viewPush(a))
	if err != nil {
		// Only a text that is not UTF-8 does that, and FCM and APNs refuse those.
		view = fmt.Appendf(nil, `{"problem":"it cannot be shown","facts":[]}`)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	n := notice{b.last, view}
	if b.kept = append(b.kept, n); len(b.kept) > boardKept {
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

// watch returns what was kept after a number, and a channel of what follows. The
// channel is closed for a page that is too far behind. Call leave in the end.
func (b *board) watch(after int) (kept []notice, follow <-chan notice, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	page := make(chan notice, boardBehind)
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
