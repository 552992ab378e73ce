package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const maxValue = 32 // columns of a value in the summary of the data

// A message is the content of a push, independent of the provider.
type message struct {
	provider    string // the service's name
	title, body string
	silent      bool   // nothing appears on the screen
	tag         string // pushes of the same one replace each other on the screen
	badge       *int   // on the app's icon; nil when the push sets none
	shown       sandbox.Shown
	buttons     []string // actions that the app offers below the text
	id          string   // notification_id, or ""
	facts       []fact
}

// A fact is a detail of a push beside its texts.
type fact struct{ name, value string }

// readMessage reads a push. It ignores what the provider would not understand either.
func readMessage(p *sandbox.Push) message {
	if apple, ok := p.Apple(); ok {
		return readApple(p, apple)
	}
	if p.Platform == sandbox.PlatformWeb {
		return readWeb(p)
	}
	return readFCM(p)
}

func readWeb(p *sandbox.Push) message {
	var w struct {
		Badge *int           `json:"badge"`
		Data  jsontext.Value `json:"data"`
	}
	_ = json.Unmarshal(p.Body, &w) // see above
	shown, visible := p.Shown()
	m := message{provider: "Web Push", silent: !visible, title: shown.Title, body: shown.Body, tag: shown.Tag, badge: w.Badge, shown: shown}
	m.id, _ = identity(w.Data)
	push := "Web Push, urgency " + p.Header.Get("Urgency") + ", topic " + p.Header.Get("Topic")
	m.facts = append([]fact{{"push", push}, {"look", look(shown)}}, summary(w.Data)...)
	return m
}

func readFCM(p *sandbox.Push) message {
	var w struct {
		Data    jsontext.Value `json:"data"`
		Android struct {
			Priority string `json:"priority"`
		} `json:"android"`
	}
	_ = json.Unmarshal(p.Body, &w) // see above
	shown, visible := p.Shown()
	m := message{provider: "FCM", silent: !visible, title: shown.Title, body: shown.Body, tag: shown.Tag, shown: shown}
	m.id, m.buttons = identity(w.Data)
	if !shown.ByApp {
		m.buttons = nil // the system knows of none
	}
	push := []string{"FCM"}
	if priority := w.Android.Priority; priority != "" {
		push = append(push, priority+" priority")
	}
	if visible {
		push = append(push, "tag "+shown.Tag)
	}
	m.facts = append(m.facts, fact{"push", strings.Join(push, ", ")}, fact{"look", look(shown)})
	m.facts = append(m.facts, summary(w.Data)...)
	return m
}

func readApple(p *sandbox.Push, apple sandbox.ApplePush) message {
	var w struct {
		APS struct {
			Badge *int `json:"badge"`
		} `json:"aps"`
		Data jsontext.Value `json:"data"`
	}
	_ = json.Unmarshal(apple.Payload, &w) // see above
	shown, visible := p.Shown()
	provider := "APNs"
	if p.Platform == sandbox.PlatformFCM {
		provider = "FCM" // which passes it on to APNs
	}
	m := message{
		provider: provider, silent: !visible, title: shown.Title, body: shown.Body,
		tag: apple.Header.Get("Apns-Collapse-Id"), badge: w.APS.Badge, shown: shown,
		buttons: categoryButtons[shown.Category],
	}
	m.id, _ = identity(w.Data)
	push := []string{provider, "priority " + cmp.Or(apple.Header.Get("Apns-Priority"), "10")}
	if m.tag != "" {
		push = append(push, "collapse id "+m.tag)
	}
	if w.APS.Badge != nil {
		push = append(push, fmt.Sprintf("badge %d", *w.APS.Badge))
	}
	m.facts = append(m.facts, fact{"push", strings.Join(push, ", ")}, fact{"look", look(shown)})
	m.facts = append(m.facts, summary(w.Data)...)
	return m
}

// categoryButtons are the buttons that an iPhone's app registers for the categories that
// Kabar names.
var categoryButtons = map[string][]string{
	"deliver_reject": {"deliver", "reject"}, "accept_reject": {"accept", "reject"}, "pay": {"pay"}, "receive": {"receive"},
}

// identity returns the id of a push's notification, and the actions that its details offer. A
// private push offers none on the screen.
func identity(data jsontext.Value) (id string, actions []string) {
	var w struct {
		ID      string         `json:"notification_id"`
		Private any            `json:"private"`
		Details jsontext.Value `json:"details"`
	}
	_ = json.Unmarshal(data, &w) // see readMessage
	if w.Private != nil {
		return w.ID, nil
	}
	var details struct {
		Actions     []string `json:"actions"`
		Transaction struct {
			Actions []string `json:"actions"`
		} `json:"transaction"`
	}
	_ = json.Unmarshal(unwrap(w.Details), &details)
	return w.ID, append(details.Actions, details.Transaction.Actions...)
}

// look describes how a push looks and sounds beside its texts.
func look(s sandbox.Shown) string {
	var parts []string
	for _, f := range []fact{
		{"subtitle", s.Subtitle}, {"channel", s.Channel}, {"sound", s.Sound}, {"level", s.Level},
		{"buttons", s.Category}, {"image", s.Image}, {"link", s.Link},
	} {
		if f.value != "" && f.value != "default" {
			parts = append(parts, f.name+"="+clean(f.value))
		}
	}
	if s.ByApp {
		parts = append(parts, "drawn by the app")
	}
	return strings.Join(parts, " ")
}

// shownAbove are the members of a push's data that its summary leaves out.
var shownAbove = map[string]bool{
	"details": true, "title": true, "message": true, "notification": true, "image": true, "link": true,
}

// summary describes a push's data in a few lines: its members, those of the details, and
// the receiver's counters. It omits the texts and the look, which are shown already.
func summary(data jsontext.Value) []fact {
	var details, unread jsontext.Value
	top := members(data, func(name string, value jsontext.Value) bool {
		if name == "details" {
			details = unwrap(value)
		}
		return !shownAbove[name]
	})
	inner := members(details, func(name string, value jsontext.Value) bool {
		if name == "unread_items" {
			unread = value
		}
		return name != "unread_items"
	})
	facts := []fact{{"data", top}, {"details", inner}}
	if unread.Kind() == '{' {
		numbers := members(unread, func(_ string, value jsontext.Value) bool { return string(value) != "0" })
		facts = append(facts, fact{"unread_items", cmp.Or(numbers, "all 0")})
	}
	return facts
}

// members writes the wanted members of an object as name=value, the type first. It omits
// null members and returns "" when the value is not an object.
func members(object jsontext.Value, wanted func(name string, value jsontext.Value) bool) string {
	var parts []string
	_ = jsonscan.EachMember(object, func(m jsonscan.Member) { // fails for what is not an object
		name := string(m.Name())
		if !wanted(name, m.Value) || m.Value.Kind() == 'n' {
			return
		}
		at := len(parts)
		if name == "type" {
			at = 0
		}
		parts = slices.Insert(parts, at, clean(name)+"="+brief(m.Value))
	})
	return strings.Join(parts, " ")
}

// brief shortens a value: an object to its identity, a list to the fact that it is one.
func brief(value jsontext.Value) string {
	switch value.Kind() {
	case '{':
		identity := members(value, func(name string, v jsontext.Value) bool {
			return (name == "id" || name == "state" || name == "name") && v.Kind() != '{'
		})
		return "{" + cmp.Or(identity, "…") + "}"
	case '[':
		return "[…]"
	case '"':
		text, _ := jsonscan.Scalar(value)
		return shorten(clean(text), maxValue)
	}
	return shorten(string(value), maxValue)
}

// unwrap returns the JSON of a value. FCM's data carries it in a string, APNs' does not.
func unwrap(value jsontext.Value) jsontext.Value {
	if value.Kind() == '"' {
		text, _ := jsonscan.Scalar(value)
		return jsontext.Value(text)
	}
	return value
}
