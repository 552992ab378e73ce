// Package push defines the types that workers and senders exchange: a [Delivery] goes to a
// [Sender], which returns a [Result]. It is pure and imports no other package of Kabar.
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

// A Delivery is one push to one device. A [Sender] encodes it in its provider's format. It
// must not change the contents of Data: the deliveries of one event share them.
type Delivery struct {
	// ID is a UUID, the same in every attempt to push this notification to this device
	// (apns-id).
	ID string
	// Token is the device token, which was validated when it was registered.
	Token string
	// Lane chooses the sender's connections.
	Lane Lane
	// Type is the event's type, such as "transaction".
	Type string
	// Data holds the documented push sample's top-level keys in their order:
	// type, receiver_id, message, details and so on; details is an object.
	Data []Field
	// Title and Body are the texts that the phone shows. If both are empty the push is
	// silent: it carries only data and badge.
	Title, Body string
	// Tag identifies the notification on the screen that this push replaces: a retry,
	// and a newer push about the same subject, have the same one. It is never empty and
	// of any length.
	Tag string
	// Thread groups notifications on the screen (APNs thread-id). It is never empty.
	Thread string
	// Category selects the buttons that the app shows (APNs category); none if empty.
	Category string
	// Badge is the number on the app's icon.
	Badge int
	// Expires is when the provider should stop trying to deliver the push.
	Expires time.Time
}

// Silent reports whether the push shows nothing on the phone.
func (d *Delivery) Silent() bool { return d.Title == "" && d.Body == "" }

// An Outcome is what a provider's answer means for a push.
type Outcome uint8

const (
	// Accepted: the provider accepted the push. Result.ProviderID is its id.
	Accepted Outcome = iota
	// Forget: the token is no longer valid. The registration whose generation was used
	// is deleted, and the push is not retried. If Result.At is set, the registration is
	// deleted only if it is older.
	Forget
	// ForgetIfOthersSucceed is Forget for an answer that a wrong topic or environment in
	// our configuration causes too (APNs BadDeviceToken, DeviceTokenNotForTopic): the
	// device is forgotten only while most other pushes succeed. Otherwise the circuit
	// breaker opens and no device is forgotten.
	ForgetIfOthersSucceed
	// Refused: a retry would fail, too. The push becomes a dead letter.
	Refused
	// Unsendable is Refused, and the device is suspended until it registers again,
	// because its token belongs to another project (FCM SENDER_ID_MISMATCH).
	Unsendable
	// Later: the push is retried after Result.RetryAfter or, if that is zero, after an
	// exponential backoff that starts with Result.Backoff.
	Later
	// SlowDown is Later, and the provider asks the whole project to slow down
	// (FCM 429 QUOTA_EXCEEDED).
	SlowDown
	// Broken: our credentials or configuration are wrong. The circuit breaker opens and
	// the push is retried later.
	Broken
)

var outcomeNames = [...]string{"accepted", "forgotten", "forgotten", "refused", "unsendable", "later", "slow_down", "broken"}

// String returns the outcome's name in metrics and event records.
func (o Outcome) String() string { return outcomeNames[o] }

// A Result is a provider's answer to one attempt.
type Result struct {
	Outcome Outcome
	// Reason is why the push was not accepted; empty if it was.
	Reason Reason
	// ProviderID is the id that the provider gave an accepted push.
	ProviderID string
	// RetryAfter is the delay that the provider asked for; zero if it asked for none.
	RetryAfter time.Duration
	// Backoff is the first step of the exponential backoff that applies if RetryAfter is
	// zero. It doubles with every attempt.
	Backoff time.Duration
	// At is the time from which on APNs knows the token to be invalid (the timestamp of
	// a 410); zero if unknown.
	At time.Time
}

// A Sender sends pushes to one provider. It is safe for concurrent use, and logs neither
// tokens nor content.
type Sender interface {
	// Send makes one attempt to push d. It may repeat a request that the provider
	// certainly did not process. It returns when ctx ends at the latest, and does not
	// panic.
	Send(ctx context.Context, d *Delivery) Result
}
