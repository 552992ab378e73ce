// Package push defines the types that workers and senders exchange: a [Delivery] goes to a
// [Sender], which returns a [Result]. It is pure and imports no other package of Kabar.
package push

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// A Field is one top-level key of a push's data and its JSON value.
type Field struct {
	Name  string
	Value json.RawMessage
}

// Keys are those of a browser's subscription, in base64: its public key, and the secret that
// it shares with whoever may send to it (RFC 8291).
type Keys struct{ P256dh, Auth string }

// TypeDismiss is the type of pushes that tell a device what was read elsewhere. They show
// nothing and never ring. No event has this type.
const TypeDismiss = "dismiss"

// A Delivery is one push to one device. A [Sender] encodes it in its provider's format. It
// must not change the contents of Data: the deliveries of one event share them.
type Delivery struct {
	// ID is a UUID, the same in every attempt to push this notification to this device
	// (apns-id).
	ID string
	// Token is the device token, which was validated when it was registered. A browser's is
	// the address of its subscription.
	Token string
	// Keys encrypt the push for a browser; empty for other devices.
	Keys Keys
	// FID says that Token is a Firebase installation id.
	FID bool
	// Lane chooses the sender's connections.
	Lane Lane
	// Type is the event's type, such as "transaction".
	Type string
	// At is when the event was accepted; zero for a push that no event has caused.
	At time.Time
	// Data holds the documented push sample's top-level keys in their order:
	// type, receiver_id, message, details and so on; details is an object.
	Data []Field
	// Title and Body are the texts that the phone shows. If both are empty the push is
	// silent: it carries only data.
	Title, Body string
	// Tag identifies the notification on the screen that this push replaces: a retry,
	// and a newer push about the same subject, have the same one. It is never empty and
	// of any length.
	Tag string
	// Thread groups notifications on the screen (APNs thread-id). It is never empty.
	Thread string
	// Presentation is how the push looks and sounds. An event's category of buttons is its
	// APNs.Category.
	Presentation Presentation
	// DataOnly asks for a push of data alone, which the app draws itself (Android). The data
	// then has what would be shown.
	DataOnly bool
	// Badge is the number on the app's icon.
	Badge int
	// BadgeAlone asks for a push that sets the badge and does nothing else (iOS). It has
	// neither data nor texts.
	BadgeAlone bool
	// Expires is when the provider should stop trying to deliver the push.
	Expires time.Time
	// Check, unless nil, is called right before each request, after everything that the
	// request may wait for: a place, a connection, a token of ours. If it fails the request
	// is not made, and the outcome is Unsent.
	Check func(ctx context.Context) error
}

// Silent reports whether the push shows nothing on the phone. Texts of only white space
// show nothing.
func (d *Delivery) Silent() bool {
	return strings.TrimSpace(d.Title) == "" && strings.TrimSpace(d.Body) == ""
}

// An Outcome is what a provider's answer means for a push. Package delivery decides what
// follows from it.
type Outcome uint8

const (
	// Accepted: the provider accepted the push. Result.ProviderID is its id.
	Accepted Outcome = iota
	// DeadToken: the provider says that the device token is not valid (any more).
	// Result.At says since when, if the provider does.
	DeadToken
	// Refused: a retry would fail, too. The push becomes a dead letter.
	Refused
	// Unsendable: the device token belongs to another project (FCM SENDER_ID_MISMATCH).
	Unsendable
	// Later: the push is retried after Result.RetryAfter or, if that is zero, after an
	// exponential backoff that starts with Result.Backoff.
	Later
	// SlowDown is Later, and the provider asks to send less. Result.Scope says to what.
	SlowDown
	// Ambiguous is Later, and it is unclear whether the fault is the device's, ours or the
	// provider's, such as a 404 without details.
	Ambiguous
	// CredentialsRefused is Later: the provider refuses our credentials, and renewing them
	// did not help.
	CredentialsRefused
	// Unsent: Delivery.Check failed with Result.Err, and no request was made after that.
	Unsent
)

var outcomeNames = [...]string{
	"accepted", "dead_token", "refused", "unsendable", "later", "slow_down", "ambiguous", "credentials_refused", "unsent",
}

// String returns the outcome's name in metrics and event records.
func (o Outcome) String() string { return outcomeNames[o] }

// A Scope says what a provider's request to send less is about.
type Scope uint8

const (
	ScopeUnknown Scope = iota // the answer does not say
	ScopeDevice               // pushes to this device
	ScopeProject              // all pushes of the project
)

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
	// Lost says that a request was made and got no answer, so that the push may have
	// arrived. Its first retry follows after about a second, and on another connection.
	Lost bool
	// Scope is what the provider's request to send less is about, with SlowDown.
	Scope Scope
	// At is the time from which on APNs knows the token to be invalid (the timestamp of
	// a 410); zero if unknown.
	At time.Time
	// Err is the error of Delivery.Check, with Unsent.
	Err error
}

// A Sender sends pushes to one provider. It is safe for concurrent use, and logs neither
// tokens nor content.
type Sender interface {
	// Send makes one attempt to push d. It may repeat a request that the provider
	// certainly did not process, or that it refused because of an access token or a
	// provider token that can be renewed. It waits for a place, a connection and a token
	// of ours until ctx ends at the latest; a request that was made has its own timeout.
	// It does not panic.
	Send(ctx context.Context, d *Delivery) Result
	// Probe asks the provider without a device whether it accepts our credentials and
	// configuration. The outcome is Accepted if so, CredentialsRefused or Ambiguous if not,
	// and Later if there is no answer to judge by.
	Probe(ctx context.Context) Result
}
