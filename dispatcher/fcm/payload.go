package fcm

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	maxPayload = 4096                // bytes ("FCM message types": 4096 bytes for data and notification)
	maxTTL     = 28 * 24 * time.Hour // AndroidConfig.ttl: four weeks
)

// message returns the FCM message of a delivery, reduced to the size that FCM accepts. It
// has no collapse_key, because FCM stores only four different ones for each device. A
// newer message replaces an older one by the tag of its notification.
func message(d *push.Delivery, now time.Time) *messaging.Message {
	c := provider.Content{Data: d.Data, Title: d.Title, Body: d.Body}
	data, n := build(d, c)
	if n > maxPayload {
		c = provider.Fit(c, maxPayload, func(c provider.Content) int {
			_, n := build(d, c)
			return n
		})
		data, _ = build(d, c)
	}
	ttl := min(max(d.Expires.Sub(now), 0), maxTTL).Truncate(time.Second)
	android := &messaging.AndroidConfig{Priority: "normal", TTL: &ttl}
	if !d.Silent() {
		android.Notification = &messaging.AndroidNotification{Title: c.Title, Body: c.Body, Tag: d.Tag}
		if d.Lane != push.Bulk {
			android.Priority = "high"
		}
	}
	return &messaging.Message{Token: d.Token, Data: data, Android: android}
}

// build returns the message's data, whose values are strings, and the size that FCM
// counts: the bytes of the data's keys and values and of the notification's texts.
func build(d *push.Delivery, c provider.Content) (data map[string]string, size int) {
	data = make(map[string]string, len(c.Data))
	for _, f := range c.Data {
		if v, ok := text(f.Value); ok {
			data[f.Name] = v
			size += len(f.Name) + len(v)
		}
	}
	if !d.Silent() {
		size += len(c.Title) + len(c.Body) + len(d.Tag)
	}
	return data, size
}

// text returns a JSON value as a string for FCM's data: a string without its quotes, any
// other value as compact JSON. It is false for null, which data leaves out.
func text(value json.RawMessage) (string, bool) {
	v := bytes.TrimSpace(value)
	switch {
	case len(v) == 0, string(v) == "null":
		return "", false
	case v[0] == '"':
		return unquote(v), true
	case isCompact(v):
		return string(v), true
	}
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return string(v), true
	}
	return b.String(), true
}

// unquote returns the value of a JSON string.
func unquote(v []byte) string {
	if bytes.IndexByte(v, '\\') < 0 && len(v) > 1 && utf8.Valid(v) {
		return string(v[1 : len(v)-1])
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	return s
}

// isCompact reports whether JSON has no white space outside of strings.
func isCompact(v []byte) bool {
	inString := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case !inString && (c == ' ' || c == '\n' || c == '\t' || c == '\r'):
			return false
		}
	}
	return true
}
