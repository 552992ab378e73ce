package sandbox

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
)

// Shown is what a phone makes of a push that it shows.
type Shown struct {
	ID                    string // of the notification; "" when the data does not say it
	Title, Subtitle, Body string
	Tag                   string // what it replaces on the screen has the same one
	Image                 string // URL; the app's service extension adds it on an iPhone
	Link                  string // what the app opens
	Sound                 string // "" is what Android's channel has, or silence on an iPhone
	Channel               string // Android
	Category              string // of buttons on an iPhone
	Level                 string // interruption level of an iPhone
	ByApp                 bool   // the app draws it from the data (Android)
}

// Shown returns what a phone shows of the push, and false when that is nothing. It ignores
// what the phone would not understand either.
func (p *Push) Shown() (Shown, bool) {
	if apple, ok := p.Apple(); ok {
		return apple.shown()
	}
	if p.Platform == PlatformWeb {
		return p.shownByBrowser()
	}
	return p.shownByAndroid()
}

// An ApplePush is what an iPhone gets.
type ApplePush struct {
	Header  http.Header
	Payload json.RawMessage
}

// Apple returns what an iPhone gets of the push, directly or through FCM, and false when it is
// for another device.
func (p *Push) Apple() (ApplePush, bool) {
	if p.Platform == PlatformAPNs {
		return ApplePush{p.Header, p.Body}, true
	}
	var w struct {
		APNS *struct {
			Headers map[string]string `json:"headers"`
			Payload json.RawMessage   `json:"payload"`
		} `json:"apns"`
	}
	if p.Platform != PlatformFCM || json.Unmarshal(p.Body, &w) != nil || w.APNS == nil {
		return ApplePush{}, false
	}
	header := make(http.Header)
	for name, value := range w.APNS.Headers {
		header.Set(name, value)
	}
	return ApplePush{header, w.APNS.Payload}, true
}

// androidNotification is FCM's android.notification.
type androidNotification struct {
	Title   string `json:"title"`
	Body    string `json:"body"`
	Tag     string `json:"tag"`
	Image   string `json:"image"`
	Sound   string `json:"sound"`
	Channel string `json:"channel_id"`
}

// shownByAndroid takes the notification that the system draws or, without one, the one in the
// data, which the app draws.
func (p *Push) shownByAndroid() (Shown, bool) {
	var w struct {
		Data    map[string]string `json:"data"`
		Android struct {
			Notification *androidNotification `json:"notification"`
		} `json:"android"`
	}
	_ = json.Unmarshal(p.Body, &w) // see Shown
	n, byApp := w.Android.Notification, false
	if text, ok := w.Data["notification"]; ok && n == nil {
		byApp = json.Unmarshal([]byte(text), &n) == nil && n != nil
	}
	if n == nil {
		return Shown{}, false
	}
	return Shown{
		ID: w.Data["notification_id"], Title: n.Title, Body: n.Body, Tag: n.Tag, Image: n.Image, Link: w.Data["link"],
		Sound: n.Sound, Channel: n.Channel, ByApp: byApp,
	}, true
}

func (p ApplePush) shown() (Shown, bool) {
	var w struct {
		APS struct {
			Alert *struct {
				Title    string `json:"title"`
				Subtitle string `json:"subtitle"`
				Body     string `json:"body"`
			} `json:"alert"`
			Sound    string `json:"sound"`
			Category string `json:"category"`
			Level    string `json:"interruption-level"`
			Mutable  int    `json:"mutable-content"`
		} `json:"aps"`
		Data struct {
			ID    string `json:"notification_id"`
			Image string `json:"image"`
			Link  string `json:"link"`
		} `json:"data"`
	}
	_ = json.Unmarshal(p.Payload, &w) // see Shown
	if w.APS.Alert == nil {
		return Shown{}, false
	}
	s := Shown{
		ID: w.Data.ID, Title: w.APS.Alert.Title, Subtitle: w.APS.Alert.Subtitle, Body: w.APS.Alert.Body,
		Tag: p.Header.Get("Apns-Collapse-Id"), Link: w.Data.Link,
		Sound: w.APS.Sound, Category: w.APS.Category, Level: w.APS.Level,
	}
	if w.APS.Mutable == 1 {
		s.Image = w.Data.Image
	}
	return s, true
}

// shownByBrowser takes what a page's service worker shows.
func (p *Push) shownByBrowser() (Shown, bool) {
	var w struct {
		Title string `json:"title"`
		Body  string `json:"body"`
		Tag   string `json:"tag"`
		Data  struct {
			Image string `json:"image"`
			Link  string `json:"link"`
		} `json:"data"`
	}
	err := json.Unmarshal(p.Body, &w)
	shown := Shown{Title: w.Title, Body: w.Body, Tag: w.Tag, Image: w.Data.Image, Link: w.Data.Link}
	return shown, err == nil && shown.Title+shown.Body != ""
}

// A Read names a notification that was read on another device.
type Read struct{ ID, Tag string }

// Read returns what the push says was read elsewhere.
func (p *Push) Read() (read []Read) {
	var w struct {
		Data struct {
			Read json.RawMessage `json:"read"`
		} `json:"data"`
	}
	body := p.Body
	if apple, ok := p.Apple(); ok {
		body = apple.Payload
	}
	if json.Unmarshal(body, &w) != nil {
		return nil
	}
	var text string // on Android
	if json.Unmarshal(w.Data.Read, &text) == nil {
		w.Data.Read = json.RawMessage(text)
	}
	_ = json.Unmarshal(w.Data.Read, &read) // a phone ignores what it does not understand
	return read
}

// badge returns the number that the push puts on the app's icon.
func (p *Push) badge() (n int, ok bool) {
	var w struct {
		APS struct {
			Badge *int `json:"badge"`
		} `json:"aps"`
	}
	apple, _ := p.Apple()
	_ = json.Unmarshal(apple.Payload, &w) // see Shown
	if w.APS.Badge == nil {
		return 0, false
	}
	return *w.APS.Badge, true
}

// A Phone shows what is pushed to it, and takes down what was read elsewhere. It is safe for
// concurrent use.
type Phone struct {
	mu    sync.Mutex
	shade []Shown
	badge int
}

// Play shows a push that was accepted, in place of one with the same tag. It takes down what
// the push says was read elsewhere, unless something newer is there under its tag.
func (p *Phone) Play(push *Push) {
	if !push.Accepted() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if badge, ok := push.badge(); ok {
		p.badge = badge
	}
	for _, read := range push.Read() {
		p.shade = slices.DeleteFunc(p.shade, func(s Shown) bool {
			return s.ID != "" && (s.ID == read.ID || s.Tag == read.Tag && s.ID < read.ID)
		})
	}
	shown, ok := push.Shown()
	if !ok {
		return
	}
	if shown.Tag != "" {
		p.shade = slices.DeleteFunc(p.shade, func(s Shown) bool { return s.Tag == shown.Tag })
	}
	p.shade = append(p.shade, shown)
}

// Badge returns the number on the app's icon (iPhone).
func (p *Phone) Badge() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.badge
}

// Shade returns what is on the screen, the newest last.
func (p *Phone) Shade() []Shown {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.shade)
}
