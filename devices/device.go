package devices

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Platform names the provider that reaches a device.
type Platform string

// The platforms.
const (
	Android Platform = "android" // FCM
	IOS     Platform = "ios"     // APNs
)

// The bounds of what an app may send.
const (
	maxIOSToken     = 200  // bytes
	maxAndroidToken = 1024 // bytes
	maxField        = 200  // characters
)

// Device is one registered app on one phone. Its JSON form is what Redis holds.
type Device struct {
	// ID is 16 hexadecimal digits. It stays the same while one user has the
	// device, over refreshes and a replaced token.
	ID       string   `json:"i"`
	Platform Platform `json:"p"`
	// Token is the provider's address of the device; see [ValidToken].
	Token string `json:"t"`
	// Generation is raised by every registration of the token, whoever makes
	// it. It is the time of the registration in microseconds since 1970, or one
	// more than the last generation where the clock has run back.
	Generation int64 `json:"g"`

	// Suspended says why pushes must not go to this registration, or is empty;
	// see [Registry.Suspend].
	Suspended string `json:"s,omitempty"`

	// Preferences are what its user has chosen; see [Registry.Prefer].
	Preferences Preferences `json:"x,omitzero"`

	// What the app said of itself: each at most 200 characters, or empty.
	Model           string `json:"m,omitempty"`
	Manufacturer    string `json:"f,omitempty"`
	ProductName     string `json:"n,omitempty"`
	AppVersion      string `json:"v,omitempty"`
	OperatingSystem string `json:"o,omitempty"`
}

// RegisteredAt returns when the device was last registered, by Redis' clock.
func (d Device) RegisteredAt() time.Time { return time.UnixMicro(d.Generation) }

// InvalidError says which field of the input cannot be accepted, and why.
type InvalidError struct {
	// Field is platform, token, old_token, new_token, model, manufacturer,
	// product_name, app_version, operating_system or user_id.
	Field string
	// Problem continues a sentence that begins with the field's name. It never
	// holds the value.
	Problem string
}

// Error returns the sentence.
func (e *InvalidError) Error() string { return e.Field + " " + e.Problem }

// ValidToken returns an [*InvalidError] unless token is fit to be a device
// token of the platform: for iOS 1 to 200 ASCII letters and digits, so that
// nothing else can reach the provider's URL; for Android 1 to 1,024 ASCII
// letters, digits and characters of ":_-.=".
func ValidToken(p Platform, token string) error { return validToken("token", p, token) }

func validToken(field string, p Platform, token string) error {
	var most int
	var marks string
	switch p {
	case Android:
		most, marks = maxAndroidToken, ":_-.="
	case IOS:
		most = maxIOSToken
	default:
		return &InvalidError{"platform", "is neither android nor ios"}
	}
	switch {
	case token == "":
		return &InvalidError{field, "is missing"}
	case len(token) > most:
		return &InvalidError{field, fmt.Sprintf("has more than %d characters", most)}
	}
	for _, c := range []byte(token) {
		if !isAlphanumeric(c) && strings.IndexByte(marks, c) < 0 {
			return &InvalidError{field, "holds a character that no device token has"}
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// validate checks everything that an app sends.
func (d Device) validate() error {
	if err := ValidToken(d.Platform, d.Token); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{
		{"model", d.Model},
		{"manufacturer", d.Manufacturer},
		{"product_name", d.ProductName},
		{"app_version", d.AppVersion},
		{"operating_system", d.OperatingSystem},
	} {
		switch {
		case !utf8.ValidString(f.value):
			return &InvalidError{f.name, "is not valid UTF-8"}
		case utf8.RuneCountInString(f.value) > maxField:
			return &InvalidError{f.name, fmt.Sprintf("has more than %d characters", maxField)}
		case strings.ContainsFunc(f.value, unicode.IsControl):
			return &InvalidError{f.name, "holds a control character"}
		}
	}
	return nil
}

// validUser refuses what cannot be a user's id; zero marks a record that has no
// owner.
func validUser(user int64) error {
	if user <= 0 {
		return &InvalidError{"user_id", "is not a positive number"}
	}
	return nil
}
