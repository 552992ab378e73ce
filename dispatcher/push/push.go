package push

import (
	"context"
	"encoding/json"
	"time"
)

// A Field is one top-level key of a push's data and its JSON value.
type Field struct {
	Name  string
	Value json.RawMessage
}

// A Delivery is one push to one device, ready for a Sender to dress in its
// provider's format. Senders must not change what the slices hold: the
// deliveries of one event share them.
type Delivery struct {
	// ID is a UUID, the same in every attempt of this push to this device: the
	// apns-id.
	ID string
	// Token is where it goes: the provider's address of the device, validated when it
	// was registered.
	Token string
	// Lane chooses the sender's connections.
	Lane Lane
	// Type is the event's type, such as "transaction".
	Type string
	// Data holds the documented push sample's top-level keys in their order:
	// type, receiver_id, message, details and so on; details is an object.
	Data []Field
	// Title and Body are what the screen shows. With both empty the push is
	// silent: it carries data and badge alone.
	Title, Body string
	// Tag names what this push replaces on the screen: a repeat, and a newer
	// push about the same thing, carry the same one. Never empty, any length.
	Tag string
	// Thread groups pushes on the screen (thread-id). Never empty.
	Thread string
	// Category names the buttons that an app may show (APNs category), or "".
	Category string
	// Badge is the number on the app's icon.
	Badge int
	// Expires is when the push is no longer worth delivering.
	Expires time.Time
}

// Silent reports whether the push shows nothing on the screen.
func (d *Delivery) Silent() bool { return d.Title == "" && d.Body == "" }

// An Outcome says what a provider's answer means for a push.
type Outcome uint8

const (
	// Accepted: the provider took the push. Result.ProviderID is its id.
	Accepted Outcome = iota
	// Forget: the token is dead; drop the device's registration of the
	// generation that was used, and no retry. With Result.At set, only if the
	// registration is older than it.
	Forget
	// ForgetIfOthersSucceed is Forget for answers that a wrong topic or
	// environment of ours would bring too: the device is forgotten only while
	// most other pushes succeed; otherwise the circuit opens and nothing is
	// forgotten (APNs BadDeviceToken, DeviceTokenNotForTopic).
	ForgetIfOthersSucceed
	// Refused: no retry can help; the push is buried with the reason.
	Refused
	// Unsendable: like Refused, and the device is kept out of sending because
	// the project does not own its token (FCM SENDER_ID_MISMATCH).
	Unsendable
	// Later: try again after Result.RetryAfter, or after a backoff when it is zero.
	Later
	// SlowDown is Later, and the provider asks the whole project to slow down
	// (FCM 429 QUOTA_EXCEEDED).
	SlowDown
	// Broken: the fault is our credentials or configuration. The circuit opens:
	// the push waits, and single probes try the provider slowly.
	Broken
)

var outcomeNames = [...]string{"accepted", "forgotten", "forgotten", "refused", "unsendable", "later", "slow_down", "broken"}

// String returns the outcome's name as it stands in metrics and event records.
func (o Outcome) String() string { return outcomeNames[o] }

// A Result is a provider's answer to one attempt.
type Result struct {
	Outcome Outcome
	// Reason says why; empty when accepted.
	Reason Reason
	// ProviderID is the id that the provider gave an accepted push.
	ProviderID string
	// RetryAfter is how long the provider asked to wait; zero when it did not say.
	RetryAfter time.Duration
	// Backoff is the first step of the exponential backoff where RetryAfter is
	// zero; it doubles with every attempt.
	Backoff time.Duration
	// At is APNs' time of a 410; zero when there is none.
	At time.Time
}

// A Sender carries pushes to one provider. Send makes exactly one attempt (it
// may resend at once what the provider certainly did not process), returns when
// ctx ends at the latest, never panics, and is safe for concurrent use. It never
// logs a token or content.
type Sender interface {
	Send(ctx context.Context, d *Delivery) Result
}
