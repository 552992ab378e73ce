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

// language chooses the language of an answer and looks up its texts.
type language struct {
	texts     *text.Catalogue
	preset    text.Locale // when neither the request nor the user has one
	publisher Publisher
	locales   *lru.Cache[int64, userLocale]
}

func newLanguage(texts *text.Catalogue, preset text.Locale, publisher Publisher) *language {
	c, err := lru.New[int64, userLocale](maxLocales)
	if err != nil {
		panic(err) // the size is a constant above 0
	}
	return &language{texts: texts, preset: preset, publisher: publisher, locales: c}
}

// say is a reply of the success envelope with a text.
func (l *language) say(r *http.Request, user int64, id string) (reply, error) {
	message := l.word(r, user, id)
	return ok(done{"OK", &message})
}

// word returns a text in the language of a user's request. The user is 0 when nobody
// has signed in.
func (l *language) word(r *http.Request, user int64, id string) string {
	return l.text(l.locale(r, user), id)
}

// text returns a text in a language.
func (l *language) text(locale text.Locale, id string) string {
	return l.texts.Text(locale, id, text.Args{})
}

// locale returns the language in which to answer a request: that of its
// Accept-Language header, else of the user's profile, else of the configuration.
// Call it only for answers that contain a text: reading the profile costs a round trip
// to Redis, once in localeFresh for each user.
func (l *language) locale(r *http.Request, user int64) text.Locale {
	if accepted := text.Accepted(r.Header.Get("Accept-Language")); accepted != "" {
		return accepted
	}
	if user == 0 {
		return l.preset
	}
	now := time.Now()
	if known, ok := l.locales.Get(user); ok && now.Before(known.until) {
		return known.locale
	}
	locale, err := l.publisher.LocaleOf(r.Context(), user, "")
	if err != nil {
		return l.preset // an answer in another language is better than none
	}
	l.locales.Add(user, userLocale{locale, now.Add(localeFresh)})
	return locale
}

// forget drops the remembered language of a user.
func (l *language) forget(user int64) { l.locales.Remove(user) }
