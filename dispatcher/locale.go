package dispatcher

import (
	"bytes"
	"context"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// What Kabar words itself is stored in every language, and shown in one: that of the
// request or socket that asks (Accept-Language), else of the user's profile, else
// Options.Locale. A push has no request: it takes the profile of the moment when it is
// sent.

// LocaleOf returns the language in which to show a user something, given the
// Accept-Language header that they sent, or "". The error is Redis'.
func (d *Dispatcher) LocaleOf(ctx context.Context, user int64, accept string) (text.Locale, error) {
	if l := text.Accepted(accept); l != "" {
		return l, nil
	}
	settings, err := d.Inbox.Profiles.Settings(ctx, user)
	if err != nil {
		return "", err
	}
	return d.localeOf(&settings.Locale), nil
}

// localeOf returns the language of a user whose profile says so, or nil.
func (d *Dispatcher) localeOf(own *string) text.Locale {
	if own == nil {
		return d.Locale
	}
	return text.Match("", text.Locale(*own), d.Locale)
}

// HasTexts reports whether a stored notification says something in several languages.
func HasTexts(body []byte) bool { return bytes.HasPrefix(body, []byte(textsKey)) }

// AppendMembers appends the members of a stored notification (type, title, message,
// details), without braces, with the message in a language, if it has that.
func AppendMembers(dst, body []byte, l text.Locale) []byte {
	if !HasTexts(body) {
		return append(dst, body[1:len(body)-1]...)
	}
	b, err := readBody(body)
	if err != nil {
		return append(dst, body[1:len(body)-1]...) // a test has seen that body writes objects
	}
	b.message = b.in(l)
	title := []byte("null")
	if b.title != nil {
		title = jsonscan.AppendString(nil, *b.title)
	}
	list := object([]push.Field{
		{Name: "type", Value: jsonscan.AppendString(nil, b.kind)}, {Name: "title", Value: title},
		{Name: "message", Value: jsonscan.AppendString(nil, b.message)}, {Name: "details", Value: []byte(b.details)},
	})
	return append(dst, list[1:len(list)-1]...)
}
