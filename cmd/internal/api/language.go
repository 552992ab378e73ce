package api

import (
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Bounds of what is remembered of users' languages. Other processes than the one
// that a service has told of a new language may take this long to answer in it.
const (
	localeFresh = time.Minute
	maxLocales  = 1 << 14 // users
)

// A userLocale is the language of a user's profile, as it was looked up.
type userLocale struct {
	locale text.Locale
	until  time.Time // looked up anew then
}

func newLocales() *lru.Cache[int64, userLocale] {
	c, err := lru.New[int64, userLocale](maxLocales)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return c
}

// say is a reply of the success envelope with a text.
func (a *api) say(r *http.Request, user int64, id string) (reply, error) {
	message := a.word(r, user, id)
	return ok(done{"OK", &message})
}

// word returns a text in the language of a request of a user, or of nobody: 0.
func (a *api) word(r *http.Request, user int64, id string) string {
	return a.Texts.Text(a.locale(r, user), id, text.Args{})
}

// locale returns the language in which to answer a request: that of its
// Accept-Language header, else of the user's profile, else of the configuration.
// Only an answer that says something should ask: the profile is a round trip to
// Redis, once in localeFresh for each user.
func (a *api) locale(r *http.Request, user int64) text.Locale {
	if l := text.Accepted(r.Header.Get("Accept-Language")); l != "" {
		return l
	}
	if user == 0 {
		return a.Locale
	}
	now := time.Now()
	if known, ok := a.locales.Get(user); ok && now.Before(known.until) {
		return known.locale
	}
	l, err := a.Publisher.LocaleOf(r.Context(), user, "")
	if err != nil {
		return a.Locale // what was done, or refused, is no other for it
	}
	a.locales.Add(user, userLocale{l, now.Add(localeFresh)})
	return l
}
