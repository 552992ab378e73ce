package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const (
	maxKept   = 100 // pushes that are shown to a page that opens later
	maxBehind = 64  // pushes that may be queued for a page
	maxShown  = 20  // notices on a phone's screen
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
	Problem  string     `json:"problem"` // why it did not arrive, or ""
	Tag      string     `json:"tag"`     // pushes of the same one replace each other
	Look     lookView   `json:"look"`
	Badge    *int       `json:"badge,omitempty"` // on the app's icon, if the push sets it
	Shade    []int      `json:"shade"`           // the notices that are on the phone's screen now, the newest last
	Facts    []factView `json:"facts"`
}

// A lookView is what a push shows beside its texts.
type lookView struct {
	Subtitle     string   `json:"subtitle"`
	Channel      string   `json:"channel"`
	Level        string   `json:"level"`
	Sound        string   `json:"sound"`
	Image        string   `json:"image"`
	Link         string   `json:"link"`
	ByApp        bool     `json:"by_app"`
	Buttons      []string `json:"buttons"`
	Notification string   `json:"notification_id"`
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
		Look: lookView{
			Subtitle: m.shown.Subtitle, Channel: m.shown.Channel, Level: m.shown.Level, Sound: m.shown.Sound,
			Image: picture(m.shown.Image), Link: m.shown.Link, ByApp: m.shown.ByApp, Buttons: m.buttons, Notification: m.id,
		},
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

// pictureHost has the pictures of the samples. The page serves them itself.
const pictureHost = "https://playground.example/"

// picture returns the address at which a page finds the image of a push.
func picture(image string) string {
	if name, ok := strings.CutPrefix(image, pictureHost); ok {
		return "pictures/" + name
	}
	return image
}

// A lockScreen is that of one phone, which the sandbox plays.
type lockScreen struct {
	phone   sandbox.Phone
	numbers map[string]int // of the notices on it, by tag
}

// play plays a push, the notice with a number, and returns the notices that are on the screen
// then, the newest last, maxShown at most.
func (s *lockScreen) play(p *sandbox.Push, number int) []int {
	s.phone.Play(p)
	if shown, ok := p.Shown(); ok && p.Accepted() {
		s.numbers[shown.Tag] = number
	}
	shade := s.phone.Shade()
	left := make(map[string]int, len(shade))
	numbers := []int{}
	for _, shown := range shade {
		n := s.numbers[shown.Tag]
		left[shown.Tag] = n
		numbers = append(numbers, n)
	}
	s.numbers = left
	return numbers[max(0, len(numbers)-maxShown):]
}

// A board plays the phones, sends their pushes to the open pages, and keeps the newest for
// pages that open later. It is safe for concurrent use.
type board struct {
	mu     sync.Mutex
	last   int
	kept   []notice
	phones map[string]*lockScreen // by the id of the phone's view
	pages  map[chan notice]struct{}
}

func newBoard() *board {
	return &board{phones: make(map[string]*lockScreen), pages: make(map[chan notice]struct{})}
}

// show puts an arrival on the board. A page that is too far behind is disconnected; it
// reconnects and reads what was kept.
func (b *board) show(a arrival) {
	v := viewPush(a)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	phone := b.phones[v.Phone.ID]
	if phone == nil {
		phone = &lockScreen{numbers: make(map[string]int)}
		b.phones[v.Phone.ID] = phone
	}
	v.Shade = phone.play(a.push, b.last)
	view, err := json.Marshal(v)
	if err != nil {
		// Only invalid UTF-8 fails, which FCM and APNs refuse.
		view = fmt.Appendf(nil, `{"problem":"it cannot be shown","facts":[]}`)
	}
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
