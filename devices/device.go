package devices

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/devices/account"
)

// Platform names the provider that reaches a device.
type Platform string

// The platforms.
const (
	Android Platform = "android" // FCM
	IOS     Platform = "ios"     // APNs
	Web     Platform = "web"     // push services of browsers
)

// Provider names who carries the pushes to a device.
type Provider string

// FCM is the provider of iOS devices whose token is of Firebase, not of APNs.
const FCM Provider = "fcm"

// Style says who draws what an Android phone shows.
type Style string

// The styles.
const (
	StyleNotification Style = "notification" // the system, from FCM's notification
	StyleData         Style = "data"         // the app: pushes are data alone
)

// Limits of what an app may send.
const (
	maxIOSToken     = 200  // bytes
	maxAndroidToken = 1024 // bytes
	maxWebToken     = 1024 // bytes
	maxKey          = 200  // bytes of base64
	maxField        = 200  // characters
)

// Device is one registered app on one phone, or one browser. Its JSON form is what Redis holds.
type Device struct {
	// ID is 16 hexadecimal digits. It stays the same while one user has the
	// device, over refreshes and a replaced token.
	ID       string   `json:"i"`
	Platform Platform `json:"p"`
	// Token is the provider's address of the device; see [ValidToken].
	Token string `json:"t"`
	// P256dh and Auth are the keys of a browser's subscription, in base64; empty for phones.
	P256dh string `json:"k,omitempty"`
	Auth   string `json:"h,omitempty"`
	// Provider is [FCM] for an iOS app that Firebase pushes to, and empty for the platform's own.
	Provider Provider `json:"u,omitempty"`
	// FID says that Token is a Firebase installation id, not a registration token.
	FID bool `json:"d,omitempty"`
	// App is the name of its app in the configuration; empty for the default one. It is no
	// part of who owns the token.
	App string `json:"c,omitempty"`
	// Environment is the environment of APNs that the app says the token is of,
	// "production" or "sandbox"; empty when it says none, and on Android. A browser's is the
	// push service that its subscription is of.
	Environment string `json:"e,omitempty"`
	// Generation is raised by every registration of the token, whoever makes
	// it. It is the time of the registration in microseconds since 1970, or one
	// more than the last generation where the clock has run back.
	Generation int64 `json:"g"`

	// Suspended says why pushes do not go to this registration, or is empty: its provider
	// says that the token belongs to another project. A push a day is tried.
	Suspended string `json:"s,omitempty"`
	// TriedAt is when a push was last tried on the suspended device, in milliseconds since
	// 1970, or 0.
	TriedAt int64 `json:"l,omitempty"`
	// Suspect is set while the provider has called the token dead once, and neither once
	// more nor accepted a push since. Registering anew ends it, like Suspended and TriedAt.
	Suspect *Suspect `json:"q,omitempty"`
	// AcceptedDay is the last day on which the provider is known to have accepted a push to
	// the token, in days since 1970 (UTC, Redis' clock; see [Day]), or 0. It is raised at most
	// once a day, and stays while the token is the user's.
	AcceptedDay int `json:"a,omitempty"`

	// SeenDay is the last day on which a request named the device, as AcceptedDay is counted,
	// or 0. It is raised at most once a day.
	SeenDay int `json:"z,omitempty"`

	// Learned is the environment of APNs that has accepted a push to the token, where the app
	// says none; else empty. It stays while the token is the user's.
	Learned string `json:"w,omitempty"`
	// Missed says that both environments have called the token of this registration bad.
	Missed bool `json:"b,omitempty"`
	// Style is what the app asked for; empty for the configured one, and on iOS.
	Style Style `json:"y,omitempty"`

	// Preferences are what its user has chosen; see [Registry.Prefer].
	Preferences Preferences `json:"x,omitzero"`

	// What the app said of itself: each at most 200 characters, or empty.
	Model           string `json:"m,omitempty"`
	Manufacturer    string `json:"f,omitempty"`
	ProductName     string `json:"n,omitempty"`
	AppVersion      string `json:"v,omitempty"`
	OperatingSystem string `json:"o,omitempty"`

	listed string // the listing that it was read from, for Amend
}

// RegisteredAt returns when the device was last registered, by Redis' clock.
func (d Device) RegisteredAt() time.Time { return time.UnixMicro(d.Generation) }

// ValidToken returns an [*account.InvalidError] unless token is fit to be a device
// token of the platform: for iOS 1 to 200 ASCII letters and digits, so that
// nothing else can reach the provider's URL; for Android 1 to 1,024 ASCII
// letters, digits and characters of ":_-.="; for browsers an https URL of at most 1,024
// characters. Which hosts it may name is for the caller to say.
func ValidToken(p Platform, token string) error { return validToken("token", p, token) }

func validToken(field string, p Platform, token string) error {
	var maxLen int
	var marks string
	switch p {
	case Android:
		maxLen, marks = maxAndroidToken, ":_-.="
	case IOS:
		maxLen = maxIOSToken
	case Web:
		maxLen, marks = maxWebToken, "-._~:/?[]@!$&'()*+,;=%"
	default:
		return &account.InvalidError{Field: "platform", Problem: "is none of android, ios and web"}
	}
	switch {
	case token == "":
		return &account.InvalidError{Field: field, Problem: "is missing"}
	case len(token) > maxLen:
		return &account.InvalidError{Field: field, Problem: fmt.Sprintf("has more than %d characters", maxLen)}
	}
	for _, c := range []byte(token) {
		if !isAlphanumeric(c) && strings.IndexByte(marks, c) < 0 {
			return &account.InvalidError{Field: field, Problem: "holds a character that no device token has"}
		}
	}
	if p == Web && !strings.HasPrefix(token, "https://") {
		return &account.InvalidError{Field: field, Problem: "does not begin with https://"}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// tokens returns the platform whose tokens the device has: Android for one of Firebase. A
// token of Firebase has one owner, whatever the platform of its device.
func (d Device) tokens() Platform {
	if d.Provider == FCM {
		return Android
	}
	return d.Platform
}

func (d Device) validateProvider() error {
	if d.Provider != "" && (d.Platform != IOS || d.Provider != FCM) {
		return &account.InvalidError{Field: "provider", Problem: "is none of apns and fcm"}
	}
	return nil
}

func (d Device) validateEnvironment() error {
	switch {
	case d.Platform == Web && d.Environment == "":
		return &account.InvalidError{Field: "environment", Problem: "is missing"}
	case d.Platform == Web, d.Environment == "":
	case d.Platform != IOS || d.Provider != "":
		return &account.InvalidError{Field: "environment", Problem: "is for APNs alone"}
	case d.Environment != "production" && d.Environment != "sandbox":
		return &account.InvalidError{Field: "environment", Problem: "is neither production nor sandbox"}
	}
	return nil
}

func (d Device) validateStyle() error {
	switch {
	case d.Style == "":
	case d.Platform != Android:
		return &account.InvalidError{Field: "style", Problem: "is for Android alone"}
	case d.Style != StyleNotification && d.Style != StyleData:
		return &account.InvalidError{Field: "style", Problem: "is neither notification nor data"}
	}
	return nil
}

func (d Device) validateKeys() error {
	for _, f := range []struct{ name, value string }{{"keys[p256dh]", d.P256dh}, {"keys[auth]", d.Auth}} {
		switch {
		case d.Platform == Web && f.value == "":
			return &account.InvalidError{Field: f.name, Problem: "is missing"}
		case d.Platform != Web && f.value != "":
			return &account.InvalidError{Field: f.name, Problem: "is for browsers alone"}
		case len(f.value) > maxKey:
			return &account.InvalidError{Field: f.name, Problem: fmt.Sprintf("has more than %d characters", maxKey)}
		}
	}
	return nil
}

// validate checks everything that an app sends.
func (d Device) validate() error {
	if err := cmp.Or(d.validateProvider(), ValidToken(d.tokens(), d.Token), d.validateFID("token"), d.validateEnvironment(), d.validateStyle(), d.validateKeys()); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{
		{"app", d.App},
		{"model", d.Model},
		{"manufacturer", d.Manufacturer},
		{"product_name", d.ProductName},
		{"app_version", d.AppVersion},
		{"operating_system", d.OperatingSystem},
	} {
		switch {
		case !utf8.ValidString(f.value):
			return &account.InvalidError{Field: f.name, Problem: "is not valid UTF-8"}
		case utf8.RuneCountInString(f.value) > maxField:
			return &account.InvalidError{Field: f.name, Problem: fmt.Sprintf("has more than %d characters", maxField)}
		case strings.ContainsFunc(f.value, unicode.IsControl):
			return &account.InvalidError{Field: f.name, Problem: "holds a control character"}
		}
	}
	return nil
}
