package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// fcmPayloadLimit bounds the sum of the keys and values of data and of the texts of
// notifications, in bytes.
const fcmPayloadLimit = 4096

// fcmMaxTTL is the maximum of android.ttl, in seconds: four weeks.
const fcmMaxTTL = 28 * 24 * 60 * 60

// fcmTokenLimit bounds the length of a token, in bytes.
const fcmTokenLimit = 4096

// An fcmCheck is a validated send request, and the first violation in it.
type fcmCheck struct {
	message                 []byte
	token, topic, condition string
	fid                     bool // the token is an installation id
	validateOnly            bool

	targets int // how many of token, fid, topic and condition are given
	size    int // bytes of data and notifications
	bad     *violation
}

// checkFCM validates a request's body.
func checkFCM(body []byte) *fcmCheck {
	c := new(fcmCheck)
	if !json.Valid(body) {
		c.syntax("", "Invalid JSON payload received. Unexpected token.")
		return c
	}
	members(body, func(name, value []byte) bool {
		switch string(name) {
		case "message":
			c.message = value
			c.object("message", value, c.inMessage)
		case "validate_only", "validateOnly":
			c.validateOnly = string(value) == "true"
		default:
			c.unknown("", name)
		}
		return c.bad == nil
	})
	if c.bad == nil {
		c.checkWhole()
	}
	return c
}

// checkWhole checks the rules that concern more than one field.
func (c *fcmCheck) checkWhole() {
	switch {
	case c.targets == 0:
		c.invalid("message", "Recipient of the message is not set.")
	case c.targets > 1:
		c.invalid("message", "Exactly one of token, fid, topic or condition is required.")
	case c.fid && !installationID.MatchString(c.token):
		c.invalid(fidField, "The installation id is not a valid Firebase installation id")
	case c.token == "" && c.topic == "" && c.condition == "",
		len(c.token) > fcmTokenLimit,
		strings.IndexFunc(c.token, unprintable) >= 0:
		c.invalid(tokenField, fcmErrors[0].message)
	case c.size > fcmPayloadLimit:
		c.invalid("", "Message is too large. The maximum is 4K (4096 bytes).")
	}
}

// installationID is what FCM accepts as fid.
var installationID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,200}$`)

func unprintable(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }

// inMessage checks one member of a message.
func (c *fcmCheck) inMessage(name, value []byte) {
	switch string(name) {
	case "token":
		c.target(&c.token, name, value)
	case "fid":
		c.fid = true
		c.target(&c.token, name, value)
	case "topic":
		c.target(&c.topic, name, value)
	case "condition":
		c.target(&c.condition, name, value)
	case "data":
		c.data("message.data", value)
	case "notification":
		c.object("message.notification", value, c.inNotification)
	case "android":
		c.object("message.android", value, c.inAndroid)
	case "apns":
		c.object("message.apns", value, c.inAPNs)
	case "fcm_options", "fcmOptions":
		c.object("message.fcm_options", value, c.inOptions)
	case "name", "webpush": // not validated
	default:
		c.unknown("message", name)
	}
}

// analyticsLabel is what FCM accepts as analytics_label.
var analyticsLabel = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,50}$`)

func (c *fcmCheck) inOptions(name, value []byte) {
	if string(snake(name)) != "analytics_label" {
		c.unknown("message.fcm_options", name)
		return
	}
	if !c.isText("message.fcm_options.", name, value) {
		return
	}
	if label, _ := jsonscan.Scalar(value); !analyticsLabel.MatchString(label) {
		c.invalid("message.fcm_options.analytics_label", "Invalid analytics label.")
	}
}

func (c *fcmCheck) inNotification(name, value []byte) {
	switch string(name) {
	case "title", "body", "image":
		c.counted("message.notification.", name, value)
	default:
		c.unknown("message.notification", name)
	}
}

func (c *fcmCheck) inAndroid(name, value []byte) {
	switch string(snake(name)) {
	case "ttl":
		c.ttl(value)
	case "priority":
		if !bytes.EqualFold(value, []byte(`"high"`)) && !bytes.EqualFold(value, []byte(`"normal"`)) {
			c.mistyped("message.android.priority", "type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority", value)
		}
	case "collapse_key", "restricted_package_name":
		c.isText("message.android.", name, value)
	case "data":
		c.data("message.android.data", value)
	case "notification":
		c.object("message.android.notification", value, c.inAndroidNotification)
	case "direct_boot_ok":
		if string(value) != "true" && string(value) != "false" {
			c.mistyped("message.android.direct_boot_ok", "TYPE_BOOL", value)
		}
	case "fcm_options", "bandwidth_constrained_ok", "restricted_satellite_ok":
	default:
		c.unknown("message.android", name)
	}
}

func (c *fcmCheck) inAndroidNotification(name, value []byte) {
	switch string(snake(name)) {
	case "title", "body", "icon", "color", "sound", "tag", "click_action", "body_loc_key",
		"title_loc_key", "channel_id", "ticker", "image":
		c.counted("message.android.notification.", name, value)
	case "notification_priority":
		c.enum("message.android.notification.notification_priority", "NotificationPriority", value,
			"PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX")
	case "visibility":
		c.enum("message.android.notification.visibility", "Visibility", value,
			"VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET")
	case "body_loc_args", "title_loc_args", "sticky", "event_time", "local_only",
		"default_sound", "default_vibrate_timings",
		"default_light_settings", "vibrate_timings", "notification_count",
		"light_settings", "proxy", "bypass_proxy_notification":
	default:
		c.unknown("message.android.notification", name)
	}
}

func (c *fcmCheck) inAPNs(name, value []byte) {
	switch string(snake(name)) {
	case "headers", "payload", "fcm_options", "live_activity_token":
	default:
		c.unknown("message.apns", name)
	}
}

// object calls each with the members of an object until the first violation.
func (c *fcmCheck) object(path string, value []byte, each func(name, value []byte)) {
	if isNull(value) {
		return
	}
	if !isObject(value) {
		c.mistyped(path, "TYPE_MESSAGE", value)
		return
	}
	members(value, func(name, value []byte) bool {
		if !isNull(value) {
			each(name, value)
		}
		return c.bad == nil
	})
}

// target reads token, fid, topic or condition. A message must have exactly one of them.
func (c *fcmCheck) target(into *string, name, value []byte) {
	c.targets++
	if c.isText("message.", name, value) {
		*into, _ = jsonscan.Scalar(value)
	}
}

// enum checks the name of one of an enumeration's values.
func (c *fcmCheck) enum(path, kind string, value []byte, names ...string) {
	if name, _ := jsonscan.Scalar(value); !slices.Contains(names, name) {
		c.mistyped(path, "type.googleapis.com/google.firebase.fcm.v1.AndroidNotification."+kind, value)
	}
}

// counted checks a string and adds its length to the payload's size.
func (c *fcmCheck) counted(path string, name, value []byte) {
	if c.isText(path, name, value) {
		c.size += textLen(value)
	}
}

// isText checks that the member name of the object at path is a string. It returns false
// after any violation.
func (c *fcmCheck) isText(path string, name, value []byte) bool {
	if !isString(value) {
		c.mistyped(path+string(name), "TYPE_STRING", value)
	}
	return c.bad == nil
}

// data checks a map of strings and adds its keys and values to the payload's size.
func (c *fcmCheck) data(path string, value []byte) {
	i := 0
	members(value, func(name, value []byte) bool {
		if !isString(value) {
			c.mistyped(path+"["+strconv.Itoa(i)+"].value", "TYPE_STRING", value)
		} else if reserved(string(name)) {
			c.invalid(path, "Invalid data payload key: "+string(name))
		} else {
			c.size += len(name) + textLen(value)
		}
		i++
		return c.bad == nil
	})
	if !isObject(value) {
		c.mistyped(path, "TYPE_MESSAGE", value)
	}
}

// reserved reports whether FCM reserves a key of data ("message.data" in the reference of
// FCM's HTTP v1 API).
func reserved(key string) bool {
	return key == "from" || key == "message_type" || key == "gcm" ||
		strings.HasPrefix(key, "gcm.") || strings.HasPrefix(key, "google")
}

// ttl checks android.ttl, such as "3600s" or "3.5s".
func (c *fcmCheck) ttl(value []byte) {
	const path = "message.android.ttl"
	seconds, ok := seconds(value)
	if !ok {
		c.mistyped(path, "type.googleapis.com/google.protobuf.Duration", value)
	} else if seconds > fcmMaxTTL {
		c.invalid(path, fmt.Sprintf("TTL must be at most %d seconds.", fcmMaxTTL))
	}
}

// seconds parses a google.protobuf.Duration in JSON.
func seconds(value []byte) (float64, bool) {
	digits, ok := bytes.CutSuffix(value, []byte(`s"`))
	if !ok || len(digits) < 2 || bytes.ContainsFunc(digits[1:], notDecimal) {
		return 0, false
	}
	n, err := strconv.ParseFloat(string(digits[1:]), 64)
	return n, err == nil
}

func notDecimal(r rune) bool { return (r < '0' || r > '9') && r != '.' }

// invalid notes that FCM itself rejects a field.
func (c *fcmCheck) invalid(field, message string) { c.note(violation{field: field, message: message}) }

// syntax notes that the JSON does not match the API's definition.
func (c *fcmCheck) syntax(field, message string) {
	c.note(violation{field: field, message: message, syntax: true})
}

func (c *fcmCheck) mistyped(path, kind string, value []byte) {
	c.syntax(path, fmt.Sprintf("Invalid value at '%s' (%s), %s", path, kind, value))
}

func (c *fcmCheck) unknown(path string, name []byte) {
	at := ""
	if path != "" {
		at = " at '" + path + "'"
	}
	c.syntax(path, fmt.Sprintf("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", name, at))
}

// note keeps the first violation.
func (c *fcmCheck) note(v violation) {
	if c.bad == nil {
		c.bad = &v
	}
}
