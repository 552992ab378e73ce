package api

import (
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// Limits of the cache of users' languages. When a user's language changes, processes
// other than the one that got the request may use the old one for localeFresh.
const (
	localeFresh = time.Minute
	maxLocales  = 1 << 14 // users
)

// A userLocale is the cached language of a user's profile.
type userLocale struct {
	locale text.Locale
	until  time.Time // when it is looked up again
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

// word returns a text in the language of a user's request. The user is 0 when nobody
// has signed in.
func (a *api) word(r *http.Request, user int64, id string) string {
	return a.Texts.Text(a.locale(r, user), id, text.Args{})
}

// locale returns the language in which to answer a request: that of its
// Accept-Language header, else of the user's profile, else of the configuration.
// Call it only for answers that contain a text: reading the profile costs a round trip
// to Redis, once in localeFresh for each user.
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
		return a.Locale // an answer in another language is better than none
	}
	a.locales.Add(user, userLocale{l, now.Add(localeFresh)})
	return l
}
