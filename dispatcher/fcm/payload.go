package fcm

import (
	"bytes"
	"encoding/json"
	"strings"
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

// fieldNotification is the member of the data that has the notification of a push that the
// app draws itself, as the JSON that FCM's android.notification would have.
const fieldNotification = "notification"

// message returns the FCM message of a delivery, reduced to the size that FCM accepts. It
// has no collapse_key, because FCM stores only four different ones for each device: a newer
// message replaces an older one by the tag of its notification. Only dismissals have one,
// for the whole app, since each repeats what those before it have said.
func message(d *push.Delivery, now time.Time) *messaging.Message {
	c := provider.ContentOf(d)
	data, notification, n := build(d, c)
	if n > maxPayload {
		c = provider.Fit(c, maxPayload, func(c provider.Content) int {
			_, _, n := build(d, c)
			return n
		})
		data, notification, _ = build(d, c)
	}
	ttl := min(max(d.Expires.Sub(now), 0), maxTTL).Truncate(time.Second)
	android := &messaging.AndroidConfig{
		Priority: "normal", TTL: &ttl, Notification: notification,
		DirectBootOK: d.Presentation.Android.DirectBootOK,
	}
	if !d.Silent() && d.Lane != push.Bulk {
		android.Priority = "high"
	}
	if d.Type == push.TypeDismiss {
		android.CollapseKey = d.Tag
	}
	m := to(d.Token, d.FID)
	m.Data, m.Android = data, android
	if label := d.Presentation.Label; label != "" {
		m.FCMOptions = &messaging.FCMOptions{AnalyticsLabel: label}
	}
	return m
}

// to returns an empty message to a registration token, or to an installation id.
func to(token string, fid bool) *messaging.Message {
	if fid {
		return &messaging.Message{Fid: token}
	}
	//lint:ignore SA1019 most apps register with these tokens for years to come
	return &messaging.Message{Token: token}
}

// build returns the message's data, whose values are strings, its notification unless there
// is none or it is in the data, and the size that FCM counts: the bytes of the data's keys
// and values and of the notification's texts.
func build(d *push.Delivery, c provider.Content) (data map[string]string, n *messaging.AndroidNotification, size int) {
	data = make(map[string]string, len(c.Data)+1)
	put := func(name, value string) {
		data[name] = value
		size += len(name) + len(value)
	}
	for _, f := range c.Data {
		if v, ok := text(f.Value); ok {
			put(f.Name, v)
		}
	}
	if d.Silent() {
		return data, nil, size
	}
	n = notification(d, c)
	if d.DataOnly {
		if drawn, err := json.Marshal(n); err == nil { // strings always marshal
			put(fieldNotification, string(drawn))
		}
		return data, nil, size
	}
	for _, s := range []string{n.Title, n.Body, n.Tag, n.ChannelID, n.ImageURL, n.Sound} {
		size += len(s)
	}
	return data, n, size
}

// notification returns what Android shows.
func notification(d *push.Delivery, c provider.Content) *messaging.AndroidNotification {
	p := &c.Presentation
	n := &messaging.AndroidNotification{
		Title: c.Title, Body: c.Body, Tag: d.Tag,
		ChannelID: p.Android.Channel, ImageURL: p.Image,
		Visibility: visibilities[p.Android.Visibility], Priority: priorities[p.Android.Priority],
	}
	if !d.At.IsZero() { // by which an app tells whether it is newer than what was read elsewhere
		n.EventTimestamp = &d.At
	}
	if p.Sound != push.SoundNone {
		n.Sound, _, _ = strings.Cut(p.Sound, ".") // resources of an app have no extension
	}
	return n
}

var (
	visibilities = map[string]messaging.AndroidNotificationVisibility{
		"PRIVATE": messaging.VisibilityPrivate, "PUBLIC": messaging.VisibilityPublic, "SECRET": messaging.VisibilitySecret,
	}
	priorities = map[string]messaging.AndroidNotificationPriority{
		"PRIORITY_MIN": messaging.PriorityMin, "PRIORITY_LOW": messaging.PriorityLow, "PRIORITY_DEFAULT": messaging.PriorityDefault,
		"PRIORITY_HIGH": messaging.PriorityHigh, "PRIORITY_MAX": messaging.PriorityMax,
	}
)

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
