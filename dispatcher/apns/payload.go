package apns

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	// Bytes, both from "Sending notification requests to APNs".
	maxPayload    = 4096
	maxCollapseID = 64
)

// newNotification returns the APNs request of a delivery, with all headers set.
func newNotification(d *push.Delivery, topic string) *apns2.Notification {
	n := &apns2.Notification{
		ApnsID:      d.ID,
		CollapseID:  collapseID(d.Tag),
		DeviceToken: d.Token,
		Topic:       topic,
		Expiration:  d.Expires,
		Priority:    apns2.PriorityLow,
		Payload:     payload(d),
		PushType:    apns2.PushTypeAlert,
	}
	switch {
	case d.Silent():
		// Priority 10 is not allowed ("Pushing background updates to your App").
		n.PushType = apns2.PushTypeBackground
	case d.Lane != push.Bulk:
		n.Priority = apns2.PriorityHigh
	}
	if expired := time.Unix(1, 0); n.Expiration.Before(expired) {
		n.Expiration = expired // the SDK omits the header for earlier times
	}
	return n
}

// collapseID returns the tag if it is a valid apns-collapse-id, and otherwise its SHA-256.
func collapseID(tag string) string {
	if len(tag) <= maxCollapseID && isVisibleASCII(tag) {
		return tag
	}
	sum := sha256.Sum256([]byte(tag))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isVisibleASCII reports whether s consists of visible ASCII characters, which are valid
// in a header.
func isVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// payload returns the JSON of a push, reduced to the size that APNs accepts.
func payload(d *push.Delivery) []byte {
	c := provider.Content{Data: d.Data, Title: d.Title, Body: d.Body}
	p := build(d, c)
	if wireSize(p) <= maxPayload {
		return p
	}
	c = provider.Fit(c, maxPayload, func(c provider.Content) int { return wireSize(build(d, c)) })
	return build(d, c)
}

// build writes {"aps":{…},"data":{…}}. A silent push has neither alert, sound, badge nor
// category ("Pushing background updates to your App"): they would make it a visible one, and
// a badge of 0 removes what is on the screen. The app finds the numbers in the data.
func build(d *push.Delivery, c provider.Content) []byte {
	size := 256 + len(c.Title) + len(c.Body) + len(d.Thread)
	for _, f := range c.Data {
		size += len(f.Name) + len(f.Value) + 4
	}
	b := make([]byte, 0, size)
	b = append(b, `{"aps":{`...)
	silent := d.Silent()
	if silent {
		b = append(b, `"content-available":1,`...)
	} else {
		b = appendAlert(b, c.Title, c.Body)
		b = append(b, `"sound":"default","badge":`...)
		b = strconv.AppendInt(b, int64(d.Badge), 10)
		b = append(b, ',')
	}
	b = append(b, `"thread-id":`...)
	b = provider.AppendString(b, d.Thread)
	if d.Category != "" && !silent {
		b = append(b, `,"category":`...)
		b = provider.AppendString(b, d.Category)
	}
	b = append(b, `},"data":{`...)
	for i, f := range c.Data {
		if i > 0 {
			b = append(b, ',')
		}
		b = provider.AppendString(b, f.Name)
		b = append(b, ':')
		b = append(b, f.Value...)
	}
	return append(b, "}}"...)
}

// appendAlert appends the member "alert". An empty title or body is left out.
func appendAlert(b []byte, title, body string) []byte {
	b = append(b, `"alert":{`...)
	if title != "" {
		b = append(b, `"title":`...)
		b = provider.AppendString(b, title)
		if body != "" {
			b = append(b, ',')
		}
	}
	if body != "" {
		b = append(b, `"body":`...)
		b = provider.AppendString(b, body)
	}
	return append(b, `},`...)
}

// wireSize returns the size of a payload as the SDK sends it: the SDK encodes it again with
// encoding/json, which escapes these characters in six bytes each.
func wireSize(p []byte) int {
	n := len(p)
	for _, c := range []byte("<>&") {
		n += 5 * bytes.Count(p, []byte{c})
	}
	return n + 3*(bytes.Count(p, []byte("\u2028"))+bytes.Count(p, []byte("\u2029")))
}
