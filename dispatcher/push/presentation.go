package push

import (
	"encoding/json"
	"fmt"
)

// A Presentation is how a push looks and sounds beside its texts, and what it opens. Its
// JSON has the names that services give an event's members. What is empty is left to the
// platform and the app.
type Presentation struct {
	// Image is the https URL of a picture.
	Image string `json:"image,omitzero"`
	// Link is what the app opens: an https URL, or one of a configured scheme.
	Link string `json:"link,omitzero"`
	// Sound is the name of a sound in the app, [SoundDefault] or [SoundNone].
	Sound string `json:"sound,omitzero"`
	// Label groups the push in FCM's statistics.
	Label   string  `json:"analytics_label,omitzero"`
	Android Android `json:"android,omitzero"`
	APNs    APNs    `json:"apns,omitzero"`
}

// The members of a push's data that repeat a part of its presentation, for the app and for
// an iPhone's service extension.
const (
	FieldImage = "image"
	FieldLink  = "link"
)

// FieldRead is the member of a push's data that names what was read elsewhere.
const FieldRead = "read"

// The sounds that are not in the app.
const (
	SoundDefault = "default" // the system's
	SoundNone    = "none"    // silence
)

// Android is the part of a presentation that only Android has. Values are FCM's own.
type Android struct {
	Channel      string `json:"channel_id,omitzero"`
	Visibility   string `json:"visibility,omitzero"`            // PRIVATE, PUBLIC or SECRET
	Priority     string `json:"notification_priority,omitzero"` // PRIORITY_MIN to PRIORITY_MAX
	DirectBootOK bool   `json:"direct_boot_ok,omitzero"`
}

// APNs is the part of a presentation that only Apple's devices have. Values are Apple's own.
type APNs struct {
	InterruptionLevel string  `json:"interruption_level,omitzero"`
	RelevanceScore    float64 `json:"relevance_score,omitzero"` // 0 to 1; Apple's default is 0
	Category          string  `json:"category,omitzero"`
	Subtitle          string  `json:"subtitle,omitzero"`
	TargetContentID   string  `json:"target_content_id,omitzero"`
}

// JSON returns the presentation as a JSON object, or nil for the zero value.
func (p Presentation) JSON() []byte {
	if p == (Presentation{}) {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("marshal presentation: %v", err)) // strings and a finite number always marshal
	}
	return b
}

// ParsePresentation reads what JSON wrote, nil included.
func ParsePresentation(b []byte) (p Presentation, err error) {
	if len(b) == 0 {
		return p, nil
	}
	if err = json.Unmarshal(b, &p); err != nil {
		return Presentation{}, fmt.Errorf("presentation: %w", err)
	}
	return p, nil
}
