package model

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// IDLen is the length of an id in characters, suffixLen that of its random end.
const (
	IDLen     = 24
	suffixLen = 11
)

// NewID returns an id of 24 lower-case hex digits that sorts by time: 8 digits of
// seconds, as in the documents' samples, 5 of microseconds, 11 random ones.
func NewID(now time.Time) string {
	return fmt.Sprintf("%08x%05x", now.Unix(), now.Nanosecond()/1000) + NewIDSuffix()
}

// NewIDAfter returns a new id that sorts after another one: that of now, or of the
// microsecond after the other one.
func NewIDAfter(id string, now time.Time) string {
	if at, err := IDTime(id); err == nil && !now.Truncate(time.Microsecond).After(at) {
		now = at.Add(time.Microsecond)
	}
	return NewID(now)
}

// NewIDSuffix returns the random end of an id.
func NewIDSuffix() string {
	var b [(suffixLen + 1) / 2]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])[:suffixLen]
}

// IDTime returns the time, to the microsecond, of an id.
func IDTime(id string) (time.Time, error) {
	if !ValidID(id) {
		return time.Time{}, fmt.Errorf("id %q is not 24 hex digits", id)
	}
	seconds, _ := strconv.ParseInt(id[:8], 16, 64) // hex digits, just checked
	micros, _ := strconv.ParseInt(id[8:13], 16, 64)
	return time.Unix(seconds, micros*1000), nil
}

// ValidID reports whether id has the form of an id.
func ValidID(id string) bool {
	if len(id) != IDLen {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ConversationID is the id of the conversation of two users, in any order.
func ConversationID(a, b int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%d", min(a, b), max(a, b)))
	return hex.EncodeToString(sum[:IDLen/2])
}
