package dispatcher

import (
	"context"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Kabar's own texts are stored in every language and shown in one: that of the request or
// socket (Accept-Language), else of the user's profile, else Options.Locale. A push has no
// request: its language is that of the profile when the push is sent.

// LocaleOf returns the language in which to show a user something, given the
// Accept-Language header that they sent, or "". The error is Redis'.
func (d *Dispatcher) LocaleOf(ctx context.Context, user int64, accept string) (text.Locale, error) {
	if l := text.Accepted(accept); l != "" {
		return l, nil
	}
	settings, err := d.opts.Inbox.Profiles.Settings(ctx, user)
	if err != nil {
		return "", err
	}
	return d.LocaleFor(settings.Locale, accept), nil
}

// LocaleFor returns the language in which to show a user something, given the language of
// the user's profile and the Accept-Language header that they sent, each of them or "".
func (d *Dispatcher) LocaleFor(profile, accept string) text.Locale {
	if l := text.Accepted(accept); l != "" {
		return l
	}
	return text.Preferred(&profile, d.opts.Locale)
}
