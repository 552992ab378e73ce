package api

import (
	"context"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
)

// saying is a text as Kabar ships it.
func saying(l text.Locale, id string) string { return text.Default().Text(l, id, text.Args{}) }

// Every text that an answer asks for is there, and none that no answer asks for.
// That a text is there in every language is a test of package text.
func TestAnswersHaveWords(t *testing.T) {
	var used, known []string
	for c := range codes {
		used = append(used, textOfCode+string(c))
	}
	literal := regexp.MustCompile(`"(api\.[a-z_.]*[a-z])"`)
	for _, folder := range []string{".", "../../../dispatcher", "../../../dispatcher/live"} {
		files, err := filepath.Glob(folder + "/*.go")
		check(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			check(t, err)
			for _, match := range literal.FindAllSubmatch(source, -1) {
				used = append(used, string(match[1]))
			}
		}
	}
	for _, id := range text.Default().IDs() {
		if strings.HasPrefix(id, "api.") {
			known = append(known, id)
		}
	}
	slices.Sort(used)
	if used = slices.Compact(used); !slices.Equal(used, known) {
		t.Errorf("used\n%s\nthere are\n%s", strings.Join(used, "\n"), strings.Join(known, "\n"))
	}
}

// aLanguage is a way to ask for one.
type aLanguage struct {
	accept string // of each request
	user   string // of the profiles of those who ask
	// What users are answered in, and who else asks.
	forUsers, forOthers text.Locale
}

// Each answer speaks the language of its request, else of the user, else Indonesian.
func TestAnswersSpeakTheLanguageOfTheRequest(t *testing.T) {
	for name, l := range map[string]aLanguage{
		"nobody says":            {"", "", text.Indonesian, text.Indonesian},
		"the request, English":   {"en-GB,en;q=0.9", "id", text.English, text.English},
		"the request, no other":  {"id", "en", text.Indonesian, text.Indonesian},
		"the user":               {"", "en", text.English, text.Indonesian},
		"a language not spoken":  {"fr", "en", text.English, text.Indonesian},
		"a language nobody says": {"fr", "", text.Indonesian, text.Indonesian},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l.answers(t)
		})
	}
}

// answers has each text said that a world can be made to say.
func (l aLanguage) answers(t *testing.T) {
	w := newWorld(t, nil)
	if l.user != "" {
		w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"locale":"`+l.user+`"}`), 200)
		w.must(w.bearer(directory, "PUT", "/v2/users/67.json", `{"locale":"`+l.user+`"}`), 200)
	}
	w.must(w.publish(`{"id":"n","type":"discount","receiver_id":66,"message":"x","title":"x","details":{}}`), 202)
	register(t, w, devices.Android, "first")
	note := w.must(w.get(listPath), 200).envelope(t).Data[0].ID
	const im = `{"instant_message":{"receiver_id":67,"category":%,"body_bb":"x","client_id":"c"}}`
	sent := *w.must(w.do(call{method: "POST", path: messagesPath, auth: ani, media: typeJSON, body: strings.Replace(im, "%", "0", 1)}), 200).envelope(t).ID
	w.must(w.start(`{"id":"b","type":"announcement","title":"x","message":"x"}`), 202)
	w.must(w.steer("b", "cancelled"), 200)

	ask := func(id string, status int, c call) {
		t.Helper()
		want := l.forUsers
		if !strings.Contains(c.auth, ":") || status == 401 {
			want = l.forOthers
		}
		if l.accept != "" {
			c.header = map[string]string{"Accept-Language": l.accept}
		}
		if c.media == "" {
			c.media = typeForm
		}
		e := w.must(w.do(c), status).envelope(t)
		if len(e.Results) > 0 {
			e = e.Results[0]
		}
		if e.Message != saying(want, id) {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, e.Message, saying(want, id))
		}
	}
	asAni := func(method, path, form string) call { return call{method: method, path: path, auth: ani, body: form} }
	asService := func(key, method, path, json string) call {
		return call{method: method, path: path, auth: "Bearer " + key, media: typeJSON, body: json}
	}
	ask("api.device.added", 200, asAni("POST", androidPath, "reg_id=A"))
	ask("api.device.not_added", 422, asAni("POST", androidPath, ""))
	ask("api.device.updated", 200, asAni("PATCH", androidPath, "old_reg_id=A&new_reg_id=B"))
	ask("api.device.not_updated", 422, asAni("PATCH", androidPath, ""))
	ask("api.config.updated", 200, asAni("PATCH", configPath, "reg_id=B&config[promo]=0"))
	ask("api.config.not_updated", 422, asAni("PATCH", configPath, "reg_id=B&config[promo]=x"))
	ask("api.device.not_found", 404, asAni("GET", configPath+"?reg_id=nobodys", ""))
	ask("api.device.not_yours", 403, call{method: "DELETE", path: androidPath, auth: budi, body: "reg_id=B"})
	ask("api.device.removed", 200, asAni("DELETE", androidPath, "reg_id=B"))
	ask("api.device.logged_out", 200, asAni("DELETE", logoutPath, "reg_id=first"))
	ask("api.device.not_logged_out", 422, asAni("DELETE", logoutPath, ""))
	ask("api.notification.read", 200, asAni("PATCH", "/v2/notifications/"+note+".json", ""))
	ask("api.notification.not_read", 404, asAni("PATCH", "/v2/notifications/0123456789abcdef01234567.json", ""))

	message := func(body string) call {
		return call{method: "POST", path: messagesPath, auth: ani, media: typeJSON, body: body}
	}
	ask("api.message.sent", 200, message(strings.Replace(im, "%", "0", 1)))
	ask("api.message.admins_only", 403, message(strings.Replace(im, "%", "1", 1)))
	ask("api.message.not_sent", 409, message(strings.Replace(strings.Replace(im, "%", "0", 1), `"x"`, `"y"`, 1)))
	ask("api.message.no_receiver", 404, message(`{"instant_message":{"receiver_id":404,"category":0,"body_bb":"x"}}`))
	ask("api.message.format", 422, message(`{}`))
	ask("api.message.deleted", 200, asAni("DELETE", "/v2/messages/im/"+sent+".json", ""))
	ask("api.message.not_deleted", 404, asAni("DELETE", "/v2/messages/im/"+sent+".json", ""))
	ask("api.conversation.not_yours", 403, asAni("GET", "/v2/messages/im/"+sent+".json", ""))
	ask("api.conversation.deleted", 200, call{method: "DELETE", path: "/v2/messages/" + anisAndBudis + ".json", auth: budi})
	ask("api.conversation.not_deleted", 404, asAni("DELETE", "/v2/messages/x.json", ""))
	ask("api.attachment.refused", 415, call{
		method: "POST", path: uploadPath, auth: ani, media: boundary, body: filePart("file", "a.txt", "plain") + "--XX--",
	})

	ask("api.broadcast.over", 409, asService(marketing, "PATCH", "/v2/broadcasts/b.json", `{"state":"running"}`))
	ask("api.failure.malformed", 400, asService(shop, "POST", eventsPath, `{`))
	ask("api.failure.invalid", 200, asService(shop, "POST", eventsPath, `[{}]`)) // in the results
	ask("api.failure.conflict", 409, asService(shop, "POST", eventsPath, `{"id":"n","type":"discount","receiver_id":66,"message":"y","title":"x","details":{}}`))
	ask("api.failure.too_large", 413, asService(shop, "POST", eventsPath, `{"id":"`+strings.Repeat("x", 70_000)+`"}`))
	ask("api.failure.forbidden", 403, asService(directory, "POST", eventsPath, `{}`))
	ask("api.failure.unsupported_media_type", 415, call{method: "PATCH", path: configPath, auth: ani, media: "text/plain", body: "x"})
	ask("api.failure.invalid", 422, asAni("GET", listPath+"?page=x", ""))
	ask("api.failure.not_found", 404, call{method: "GET", path: "/v2/nothing.json"})
	ask("api.failure.method_not_allowed", 405, call{method: "DELETE", path: listPath})
	ask("api.failure.gone", 410, call{method: "GET", path: "/v1/notifications.json"})
	ask("api.failure.unauthorized", 401, call{method: "GET", path: listPath, auth: "66:wrong"})
}

// An askedDispatcher counts how often it is asked for a user's language, which is
// English.
type askedDispatcher struct {
	fakeDispatcher
	times int
	err   error
}

func (d *askedDispatcher) LocaleOf(context.Context, int64, string) (text.Locale, error) {
	d.times++
	return text.English, d.err
}

// A profile is looked up for answers that say something to somebody who did not ask
// for a language, once a minute, and not while Redis is away.
func TestLanguagesAreLookedUpSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, d := &fakeInbox{}, &askedDispatcher{}
		h := New(Options{Inbox: box, Devices: fakeDevices{}, Dispatcher: d})
		const none = textOfCode + string(notFound)
		for _, step := range []struct {
			name    string
			wait    time.Duration
			accept  string
			err     error // of what is asked for
			profile error // of the look-up
			message string
			times   int // that the profile has been looked up by then
		}{
			{"nothing to say", 0, "", nil, nil, "", 0},
			{"Redis is away", 0, "", io.EOF, nil, saying(text.Indonesian, textOfCode+string(unavailable)), 0},
			{"the request says", 0, "id", inbox.ErrNotFound, nil, saying(text.Indonesian, none), 0},
			{"the profile cannot be read", 0, "", inbox.ErrNotFound, io.EOF, saying(text.Indonesian, none), 1},
			{"nothing is known", 0, "", inbox.ErrNotFound, nil, saying(text.English, none), 2},
			{"known", localeFresh - 1, "", inbox.ErrNotFound, nil, saying(text.English, none), 2},
			{"not fresh any more", 1, "", inbox.ErrNotFound, nil, saying(text.English, none), 3},
		} {
			time.Sleep(step.wait) // of the bubble's clock
			box.err, d.err = step.err, step.profile
			r := httptest.NewRequest("GET", unreadsPath, nil)
			r.SetBasicAuth("66", "t")
			if step.accept != "" {
				r.Header.Set("Accept-Language", step.accept)
			}
			got := serve(h, r)
			if e := got.envelope(t); e.Message != step.message || d.times != step.times {
				t.Errorf("%s: %q after %d look-ups, want %q, %d", step.name, e.Message, d.times, step.message, step.times)
			}
		}
	})
}

// The configuration chooses for those who do not.
func TestAnswersSpeakTheConfiguredLanguage(t *testing.T) {
	h := New(Options{Dispatcher: fakeDispatcher{}, Locale: text.English})
	for accept, want := range map[string]text.Locale{"": text.English, "fr": text.English, "id": text.Indonesian} {
		r := httptest.NewRequest("GET", "/v2/nothing.json", nil)
		r.Header.Set("Accept-Language", accept)
		if e := serve(h, r).envelope(t); e.Message != saying(want, textOfCode+string(notFound)) {
			t.Errorf("%q: %q", accept, e.Message)
		}
	}
}
