package sandbox

import (
	"encoding/json"
	"slices"
	"sync"
)

// Shown is what a phone makes of a push that it shows.
type Shown struct {
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
	if p.Platform == PlatformAPNs {
		return p.shownByIPhone()
	}
	return p.shownByAndroid()
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
		Title: n.Title, Body: n.Body, Tag: n.Tag, Image: n.Image, Link: w.Data["link"],
		Sound: n.Sound, Channel: n.Channel, ByApp: byApp,
	}, true
}

func (p *Push) shownByIPhone() (Shown, bool) {
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
			Image string `json:"image"`
			Link  string `json:"link"`
		} `json:"data"`
	}
	_ = json.Unmarshal(p.Body, &w) // see Shown
	if w.APS.Alert == nil {
		return Shown{}, false
	}
	s := Shown{
		Title: w.APS.Alert.Title, Subtitle: w.APS.Alert.Subtitle, Body: w.APS.Alert.Body,
		Tag: p.Header.Get("Apns-Collapse-Id"), Link: w.Data.Link,
		Sound: w.APS.Sound, Category: w.APS.Category, Level: w.APS.Level,
	}
	if w.APS.Mutable == 1 {
		s.Image = w.Data.Image
	}
	return s, true
}

// A Phone shows what is pushed to it. It is safe for concurrent use.
type Phone struct {
	mu    sync.Mutex
	shade []Shown
}

// Play shows a push that was accepted, in place of one with the same tag.
func (p *Phone) Play(push *Push) {
	shown, ok := push.Shown()
	if !ok || !push.Accepted() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if shown.Tag != "" {
		p.shade = slices.DeleteFunc(p.shade, func(s Shown) bool { return s.Tag == shown.Tag })
	}
	p.shade = append(p.shade, shown)
}

// Shade returns what is on the screen, the newest last.
func (p *Phone) Shade() []Shown {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.shade)
}
