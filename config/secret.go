package config

import (
	"log/slog"
	"regexp"
	"strings"
)

// mask stands for a secret wherever one would be printed.
const mask = "***"

// Secret is a string that only Reveal returns. Printed, logged or marshalled it is ***, or
// nothing when it is empty, so that one can still see whether it was set.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns ***, or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString keeps %#v from showing the secret.
func (s Secret) GoString() string { return s.String() }

// MarshalText keeps JSON, and whatever else uses it, from showing the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML keeps YAML from showing the secret.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// LogValue keeps slog from showing the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// URL is a URL that may hold a password, which only Reveal returns: printed, logged or
// marshalled, *** takes the place of the password before the host, of a user name without a
// password, and of query parameters whose names suggest secrets.
type URL string

var secretParam = regexp.MustCompile(`(?i)([?&][^=&]*(?:pass|secret|token|key|sig)[^=&]*=)[^&]*`)

// Reveal returns the URL with its password.
func (u URL) Reveal() string { return string(u) }

// String returns the URL with *** in place of its secrets. It needs no valid
// URL: all that stands before the last @ counts as user and password, because a
// password that was not escaped may hold any delimiter.
func (u URL) String() string {
	text := string(u)
	start := 0
	if i := strings.Index(text, "://"); i >= 0 {
		start = i + len("://")
	}
	if at := strings.LastIndex(text, "@"); at >= start {
		user, _, hasPassword := strings.Cut(text[start:at], ":")
		if hasPassword {
			user += ":"
		} else {
			user = "" // a lone name may well be a token
		}
		text = text[:start] + user + mask + text[at:]
	}
	return secretParam.ReplaceAllString(text, "${1}"+mask)
}

// GoString keeps %#v from showing the password.
func (u URL) GoString() string { return u.String() }

// MarshalText keeps YAML, JSON and whatever else uses it from showing the password.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue keeps slog from showing the password.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
