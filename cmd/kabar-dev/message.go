package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const valueMost = 32 // columns of one value in the data's summary

// A message is what a push says, whichever provider's words it says it in.
type message struct {
	provider    string // the service's name
	title, body string
	silent      bool   // nothing appears on the screen
	tag         string // pushes of the same one replace each other on the screen
	badge       *int   // on the app's icon; nil where the push does not say it
	facts       []fact
}

// A fact is one thing that a push says beside its texts.
type fact struct{ name, value string }

// readMessage reads a push. What the provider would not understand either is left
// out.
func readMessage(p *sandbox.Push) message {
	if p.Platform == sandbox.PlatformAPNs {
		return readAPNs(p)
	}
	return readFCM(p)
}

func readFCM(p *sandbox.Push) message {
	var w struct {
		Data    jsontext.Value `json:"data"`
		Android struct {
			Priority     string `json:"priority"`
			Notification *struct {
				Title string `json:"title"`
				Body  string `json:"body"`
				Tag   string `json:"tag"`
			} `json:"notification"`
		} `json:"android"`
	}
	_ = json.Unmarshal(p.Body, &w) // see above
	m := message{provider: "FCM", silent: w.Android.Notification == nil}
	push := []string{"FCM"}
	if priority := w.Android.Priority; priority != "" {
		push = append(push, priority+" priority")
	}
	if n := w.Android.Notification; n != nil {
		m.title, m.body, m.tag = n.Title, n.Body, n.Tag
		push = append(push, "tag "+n.Tag)
	}
	m.facts = append(m.facts, fact{"push", strings.Join(push, ", ")})
	m.facts = append(m.facts, summary(w.Data)...)
	return m
}

func readAPNs(p *sandbox.Push) message {
	var w struct {
		APS struct {
			Alert *struct {
				Title string `json:"title"`
				Body  string `json:"body"`
			} `json:"alert"`
			Badge *int `json:"badge"`
		} `json:"aps"`
		Data jsontext.Value `json:"data"`
	}
	_ = json.Unmarshal(p.Body, &w) // see above
	m := message{
		provider: "APNs", silent: w.APS.Alert == nil,
		tag: p.Header.Get("Apns-Collapse-Id"), badge: w.APS.Badge,
	}
	push := []string{"APNs", "priority " + cmp.Or(p.Header.Get("Apns-Priority"), "10")}
	if a := w.APS.Alert; a != nil {
		m.title, m.body = a.Title, a.Body
	}
	if m.tag != "" {
		push = append(push, "collapse id "+m.tag)
	}
	if w.APS.Badge != nil {
		push = append(push, fmt.Sprintf("badge %d", *w.APS.Badge))
	}
	m.facts = append(m.facts, fact{"push", strings.Join(push, ", ")})
	m.facts = append(m.facts, summary(w.Data)...)
	return m
}

// summary tells in a few lines what a push's data says: its own members, those of
// the details, and the receiver's numbers. The texts stand on the screen already.
func summary(data jsontext.Value) []fact {
	var details, unread jsontext.Value
	top := members(data, func(name string, value jsontext.Value) bool {
		if name == "details" {
			details = unwrap(value)
		}
		return name != "details" && name != "title" && name != "message"
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

// members writes an object's members that are wanted and not null as name=value,
// the type first. It returns "" for what is no object.
func members(object jsontext.Value, wanted func(name string, value jsontext.Value) bool) string {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if open, err := dec.ReadToken(); err != nil || open.Kind() != '{' {
		return ""
	}
	var parts []string
	for dec.PeekKind() == '"' {
		name, err := dec.ReadValue()
		if err != nil {
			break
		}
		key := text(name)
		value, err := dec.ReadValue()
		if err != nil {
			break
		}
		value = value.Clone() // wanted may keep it
		if !wanted(key, value) || value.Kind() == 'n' {
			continue
		}
		at := len(parts)
		if key == "type" {
			at = 0
		}
		parts = slices.Insert(parts, at, clean(key)+"="+brief(value))
	}
	return strings.Join(parts, " ")
}

// brief is a value in few columns: of an object what identifies it, of a list
// only that there is one.
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
		return shorten(clean(text(value)), valueMost)
	}
	return shorten(string(value), valueMost)
}

// text returns the string that a JSON string says.
func text(value jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return string(value)
	}
	return string(b)
}

// unwrap returns the JSON that FCM's data carries as a string; APNs' is JSON
// already.
func unwrap(value jsontext.Value) jsontext.Value {
	if value.Kind() == '"' {
		return jsontext.Value(text(value))
	}
	return value
}
