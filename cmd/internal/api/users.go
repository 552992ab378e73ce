package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/devices/credentials"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Limits of a profile.
const (
	maxName   = 200  // characters, of a username too
	maxAvatar = 2048 // characters
)

// users serves the endpoints that set and erase users.
type users struct {
	profiles    Profiles
	credentials Credentials
	eraser      Eraser
	attachments Attachments // nil when none are kept
	deliveries  Deliveries
	language    *language
	// tokensElsewhere says that Credentials does not keep users' tokens.
	tokensElsewhere bool
}

// setUser: PUT /v2/users/:id.json
func (u *users) setUser(r *http.Request, _ *Service) (reply, error) {
	user, err := pathUser(r)
	if err != nil {
		return reply{}, err
	}
	in, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	profile := readProfile(in)
	quiet, zone := readQuiet(in)
	token, hasToken := in.given("token")
	switch {
	case hasToken && u.tokensElsewhere:
		in.reject("token", "must not be set: users' tokens are kept elsewhere (auth.mode)")
	case token != "" && !model.Visible(token):
		in.reject("token", "must not be blank")
	case len(token) > credentials.MaxToken:
		in.reject("token", fmt.Sprintf("must have at most %d bytes", credentials.MaxToken))
	}
	if err := in.err(); err != nil {
		return reply{}, err
	}
	// Each step is idempotent: when one fails, the client repeats the request.
	err = u.profiles.Set(r.Context(), user, profile)
	u.language.forget(user) // it may be another one now
	if err != nil {
		return reply{}, err
	}
	if err := setQuietHours(r.Context(), u.profiles, u.deliveries, user, quiet, zone); err != nil {
		return reply{}, err
	}
	if hasToken {
		if err := u.credentials.SetToken(r.Context(), user, token); err != nil {
			return reply{}, err
		}
	}
	return userDone(user)
}

// eraseUser: DELETE /v2/users/:id.json
func (u *users) eraseUser(r *http.Request, _ *Service) (reply, error) {
	user, err := pathUser(r)
	if err != nil {
		return reply{}, err
	}
	// Files are erased first, so that nothing else is gone when the bucket fails, and
	// again after the tombstone was set, for files that were uploaded in between. When
	// Erase fails half-way, the janitor does the rest. Repeating the request is safe.
	for _, erase := range []func(context.Context, int64) error{u.eraseFiles, u.eraser.Erase, u.eraseFiles} {
		if err := erase(r.Context(), user); err != nil {
			return reply{}, err
		}
	}
	u.language.forget(user)
	return userDone(user)
}

// eraseFiles erases the files that a user has sent in chats, if such files are kept.
func (u *users) eraseFiles(ctx context.Context, user int64) error {
	if u.attachments == nil {
		return nil
	}
	return u.attachments.Erase(ctx, user)
}

// pathUser returns the user in the request's path.
func pathUser(r *http.Request) (int64, error) {
	id, err := pathID(r)
	if err != nil {
		return 0, err
	}
	user, err := model.ParseUser(id)
	if err != nil {
		return 0, wrong("id", err.Error())
	}
	return user, nil
}

func userDone(user int64) (reply, error) {
	return ok(struct {
		Status  string  `json:"status"`
		ID      string  `json:"id"`
		Message *string `json:"message"`
	}{"OK", strconv.FormatInt(user, 10), nil})
}

// readProfile reads the given members of a profile and rejects invalid ones.
// An empty name, username or avatar clears it. Names are cleaned.
func readProfile(in *params) inbox.Profile {
	member := func(name string, problem func(string) string) *string {
		value, ok := in.given(name)
		if !ok {
			return nil
		}
		if p := problem(value); p != "" {
			in.reject(name, p)
		}
		return &value
	}
	name := func(name string) *string {
		value := member(name, nameProblem)
		if value != nil {
			*value = model.CleanName(*value)
		}
		return value
	}
	p := inbox.Profile{
		Name:     name("name"),
		Username: name("username"),
		Avatar:   member("avatar", avatarProblem),
		Locale:   member("locale", localeProblem),
		Timezone: member("timezone", timezoneProblem),
	}
	if value, ok := in.given("admin"); ok {
		admin := value == "true"
		if !admin && value != "false" {
			in.reject("admin", "must be true or false")
		}
		p.Admin = &admin
	}
	return p
}

// The problems of a profile's members, "" when there is none.

func nameProblem(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case utf8.RuneCountInString(s) > maxName:
		return fmt.Sprintf("must have at most %d characters", maxName)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	case s != "" && !model.Visible(s): // what CleanName removes is not visible
		return "must have a character that is visible"
	}
	return ""
}

func avatarProblem(s string) string {
	if s == "" {
		return ""
	}
	if len(s) > maxAvatar {
		return fmt.Sprintf("must have at most %d characters", maxAvatar)
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !utf8.ValidString(s) {
		return "must be an http or https URL"
	}
	return ""
}

func localeProblem(s string) string {
	if s != "id" && s != "en" {
		return "must be id or en"
	}
	return ""
}

func timezoneProblem(s string) string {
	if _, ok := model.Zone(s); !ok {
		return "must be WIB, WITA, WIT or the name of a time zone, such as Asia/Jakarta"
	}
	return ""
}
