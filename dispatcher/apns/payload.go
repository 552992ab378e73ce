package apns

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"slices"
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
	case d.BadgeAlone: // an alert without a text; it may have either priority
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

// firebaseReserve is what Firebase may add to a payload, in bytes.
const firebaseReserve = 512

// ForFirebase returns the header and the payload of a delivery that Firebase passes on to
// APNs. It leaves room for what Firebase adds, and names no topic, which Firebase knows.
func ForFirebase(d *push.Delivery) (header map[string]string, body []byte) {
	n := newNotification(d, "")
	return map[string]string{
		"apns-push-type":   string(n.PushType),
		"apns-priority":    strconv.Itoa(n.Priority),
		"apns-expiration":  strconv.FormatInt(n.Expiration.Unix(), 10),
		"apns-collapse-id": n.CollapseID,
	}, fitted(d, maxPayload-firebaseReserve)
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
func payload(d *push.Delivery) []byte { return fitted(d, maxPayload) }

// fitted is payload for a limit in bytes.
func fitted(d *push.Delivery, limit int) []byte {
	if d.BadgeAlone {
		return append(strconv.AppendInt([]byte(`{"aps":{"badge":`), int64(d.Badge), 10), "}}"...)
	}
	c := provider.ContentOf(d)
	p := build(d, c)
	if wireSize(p) <= limit {
		return p
	}
	c = provider.Fit(c, limit, func(c provider.Content) int { return wireSize(build(d, c)) })
	return build(d, c)
}

// build writes {"aps":{…},"data":{…}}. A silent push has neither alert, sound, badge nor what
// else presents it ("Pushing background updates to your App"): that would make it a visible
// one, and a badge of 0 removes what is on the screen. The app finds the numbers in the data.
func build(d *push.Delivery, c provider.Content) []byte {
	size := 320 + len(c.Title) + len(c.Body) + len(d.Thread)
	for _, f := range c.Data {
		size += len(f.Name) + len(f.Value) + 4
	}
	b := make([]byte, 0, size)
	b = append(b, `{"aps":{`...)
	if d.Silent() {
		b = append(b, `"content-available":1,"thread-id":`...)
		b = provider.AppendString(b, d.Thread)
	} else {
		b = appendVisible(b, d, c)
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

// appendVisible appends the members of aps of a push that is shown.
func appendVisible(b []byte, d *push.Delivery, c provider.Content) []byte {
	p := &c.Presentation
	b = append(b, `"alert":{`...)
	b = appendText(b, "title", c.Title)
	b = appendText(b, "subtitle", p.APNs.Subtitle)
	b = appendText(b, "body", c.Body)
	b = append(bytes.TrimSuffix(b, []byte(",")), `},`...)
	if p.Sound != push.SoundNone {
		b = appendText(b, "sound", cmp.Or(p.Sound, push.SoundDefault))
	}
	b = append(b, `"badge":`...)
	b = strconv.AppendInt(b, int64(d.Badge), 10)
	b = append(b, `,"thread-id":`...)
	b = append(provider.AppendString(b, d.Thread), ',')
	b = appendText(b, "category", p.APNs.Category)
	b = appendText(b, "interruption-level", p.APNs.InterruptionLevel)
	if p.APNs.RelevanceScore != 0 {
		b = append(b, `"relevance-score":`...)
		b = append(strconv.AppendFloat(b, p.APNs.RelevanceScore, 'g', -1, 64), ',')
	}
	b = appendText(b, "target-content-id", p.APNs.TargetContentID)
	takesDown := slices.ContainsFunc(c.Data, func(f push.Field) bool { return f.Name == push.FieldRead })
	if p.Image != "" || takesDown { // a service extension downloads it, or takes down what was read
		b = append(b, `"mutable-content":1,`...)
	}
	return bytes.TrimSuffix(b, []byte(","))
}

// appendText appends a member and a comma, or nothing for an empty text.
func appendText(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	b = append(append(append(b, '"'), name...), `":`...)
	return append(provider.AppendString(b, text), ',')
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
