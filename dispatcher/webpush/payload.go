package webpush

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	library "github.com/SherClockHolmes/webpush-go"

	"github.com/kabar-gateway/kabar/dispatcher/provider"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

const (
	// maxBody is the size of a body that every push service takes (RFC 8030, section 7.2), in
	// bytes. Every push is padded to it, so that its size tells nothing.
	maxBody = 4096
	// overhead is what the encryption adds to a payload: the salt, the record size, the key
	// and its length (RFC 8188), a delimiter and the tag of AES-GCM.
	overhead = 16 + 4 + 1 + 65 + 1 + 16
	// maxPayload is the size of a payload that can be sent.
	maxPayload = maxBody - overhead

	topicLen = 24                  // bytes, which are 32 characters in base64: the most that a topic has
	maxTTL   = 28 * 24 * time.Hour // four weeks, as of Chrome's push service, the shortest of all
)

// payload returns the JSON of a push, reduced to the size that push services accept.
func payload(d *push.Delivery) []byte {
	c := provider.ContentOf(d)
	b := build(d, c)
	if len(b) <= maxPayload {
		return b
	}
	return build(d, provider.Fit(c, maxPayload, func(c provider.Content) int { return len(build(d, c)) }))
}

// build writes {"title":…,"body":…,"tag":…,"badge":…,"category":…,"data":{…}}. A service
// worker shows the first three; see docs/notifications.md.
func build(d *push.Delivery, c provider.Content) []byte {
	size := 128 + len(c.Title) + len(c.Body) + len(d.Tag)
	for _, f := range c.Data {
		size += len(f.Name) + len(f.Value) + 4
	}
	b := make([]byte, 0, size)
	b = append(b, `{"title":`...)
	b = provider.AppendString(b, c.Title)
	b = append(b, `,"body":`...)
	b = provider.AppendString(b, c.Body)
	b = append(b, `,"tag":`...)
	b = provider.AppendString(b, d.Tag)
	b = append(b, `,"badge":`...)
	b = strconv.AppendInt(b, int64(d.Badge), 10)
	if category := c.Presentation.APNs.Category; category != "" {
		b = append(b, `,"category":`...)
		b = provider.AppendString(b, category)
	}
	b = append(b, `,"data":{`...)
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

// topic returns the topic of a tag: the push service keeps only the newest push of each, for
// a browser that is away. A topic has at most 32 characters, of those of base64, so it is
// made of a digest.
func topic(tag string) string {
	sum := sha256.Sum256([]byte(tag))
	return base64.RawURLEncoding.EncodeToString(sum[:topicLen])
}

// urgency returns how important a push is to a browser that saves power.
func urgency(d *push.Delivery) library.Urgency {
	if d.Lane == push.Bulk {
		return library.UrgencyNormal
	}
	return library.UrgencyHigh
}

// ttl returns how long the push service keeps a push, in seconds.
func ttl(d *push.Delivery, now time.Time) int {
	return int(min(max(d.Expires.Sub(now), 0), maxTTL) / time.Second)
}
