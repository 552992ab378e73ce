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

// saying returns Kabar's built-in text with an id.
func saying(l text.Locale, id string) string { return text.Default().Text(l, id, text.Args{}) }

// Every text that an answer uses exists, and every text exists for some answer. Package
// text tests that each text exists in every language.
func TestAnswersHaveWords(t *testing.T) {
	var used, known []string
	for c := range codes {
		used = append(used, textOfCode+string(c))
	}
	literal := regexp.MustCompile(`"(api\.[a-z_.]*[a-z])"`)
	for _, folder := range []string{".", "../../../dispatcher/chat", "../../../dispatcher/live"} {
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

// aLanguage is one way to ask for a language.
type aLanguage struct {
	accept string // Accept-Language of each request
	user   string // locale in the users' profiles
	// The expected languages of answers to users, and of all other answers.
	forUsers, forOthers text.Locale
}

// An answer is in the language of the request, else in the user's, else in Indonesian.
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

const imToBudi = `{"instant_message":{"receiver_id":67,"category":0,"body_bb":"x","client_id":"c"}}`

// answers makes a world give an answer with each of its texts, and checks their language.
func (l aLanguage) answers(t *testing.T) {
	w := newWorld(t, nil)
	if l.user != "" {
		w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"locale":"`+l.user+`"}`), 200)
		w.must(w.bearer(directory, "PUT", "/v2/users/67.json", `{"locale":"`+l.user+`"}`), 200)
	}
	w.must(w.publish(`{"id":"n","type":"discount","receiver_id":66,"message":"x","title":"x","details":{}}`), 202)
	register(t, w, devices.Android, "first")
	w.must(w.start(`{"audience":"all","id":"b","type":"announcement","title":"x","message":"x"}`), 202)
	w.must(w.steer("b", "cancelled"), 200)
	l.notifications(w)
	l.messages(w)
	l.failures(w)
}

// ask makes a call in the language and checks the text of the answer.
func (l aLanguage) ask(w *world, id string, status int, c call) {
	w.t.Helper()
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
	e := w.must(w.do(c), status).envelope(w.t)
	if len(e.Results) > 0 {
		e = e.Results[0]
	}
	if e.Message != saying(want, id) {
		w.t.Errorf("%s %s: %q, want %q", c.method, c.path, e.Message, saying(want, id))
	}
}

func asAni(method, path, form string) call {
	return call{method: method, path: path, auth: ani, body: form}
}

func asService(key, method, path, json string) call {
	return call{method: method, path: path, auth: "Bearer " + key, media: typeJSON, body: json}
}

func (l aLanguage) notifications(w *world) {
	note := w.must(w.get(listPath), 200).envelope(w.t).Data[0].ID
	l.ask(w, "api.device.added", 200, asAni("POST", androidPath, "reg_id=A"))
	l.ask(w, "api.device.not_added", 422, asAni("POST", androidPath, ""))
	l.ask(w, "api.device.updated", 200, asAni("PATCH", androidPath, "old_reg_id=A&new_reg_id=B"))
	l.ask(w, "api.device.not_updated", 422, asAni("PATCH", androidPath, ""))
	l.ask(w, "api.config.updated", 200, asAni("PATCH", configPath, "reg_id=B&config[promo]=0"))
	l.ask(w, "api.config.not_updated", 422, asAni("PATCH", configPath, "reg_id=B&config[promo]=x"))
	l.ask(w, "api.device.not_found", 404, asAni("GET", configPath+"?reg_id=nobodys", ""))
	l.ask(w, "api.device.not_yours", 403, call{method: "DELETE", path: androidPath, auth: budi, body: "reg_id=B"})
	l.ask(w, "api.device.removed", 200, asAni("DELETE", androidPath, "reg_id=B"))
	l.ask(w, "api.device.logged_out", 200, asAni("DELETE", logoutPath, "reg_id=first"))
	l.ask(w, "api.device.not_logged_out", 422, asAni("DELETE", logoutPath, ""))
	l.ask(w, "api.notification.read", 200, asAni("PATCH", "/v2/notifications/"+note+".json", ""))
	l.ask(w, "api.notification.not_read", 404, asAni("PATCH", "/v2/notifications/0123456789abcdef01234567.json", ""))
}

func (l aLanguage) messages(w *world) {
	message := func(body string) call {
		return call{method: "POST", path: messagesPath, auth: ani, media: typeJSON, body: body}
	}
	sent := *w.must(w.do(message(imToBudi)), 200).envelope(w.t).ID
	l.ask(w, "api.message.sent", 200, message(imToBudi))
	l.ask(w, "api.message.admins_only", 403, message(`{"instant_message":{"receiver_id":67,"category":1,"body_bb":"x"}}`))
	l.ask(w, "api.message.not_sent", 409, message(strings.Replace(imToBudi, `"x"`, `"y"`, 1)))
	l.ask(w, "api.message.no_receiver", 404, message(`{"instant_message":{"receiver_id":404,"category":0,"body_bb":"x"}}`))
	l.ask(w, "api.message.format", 422, message(`{}`))
	l.ask(w, "api.message.deleted", 200, asAni("DELETE", "/v2/messages/im/"+sent+".json", ""))
	l.ask(w, "api.message.not_deleted", 404, asAni("DELETE", "/v2/messages/im/"+sent+".json", ""))
	l.ask(w, "api.conversation.not_yours", 403, asAni("GET", "/v2/messages/im/"+sent+".json", ""))
	l.ask(w, "api.conversation.deleted", 200, call{method: "DELETE", path: "/v2/messages/" + anisAndBudis + ".json", auth: budi})
	l.ask(w, "api.conversation.not_deleted", 404, asAni("DELETE", "/v2/messages/x.json", ""))
	l.ask(w, "api.attachment.refused", 415, call{
		method: "POST", path: uploadPath, auth: ani, media: boundary, body: filePart("file", "a.txt", "plain") + "--XX--",
	})
}

func (l aLanguage) failures(w *world) {
	l.ask(w, "api.broadcast.over", 409, asService(marketing, "PATCH", "/v2/broadcasts/b.json", `{"state":"running"}`))
	l.ask(w, "api.failure.malformed", 400, asService(shop, "POST", eventsPath, `{`))
	l.ask(w, "api.failure.invalid", 200, asService(shop, "POST", eventsPath, `[{}]`)) // the error is in the results
	l.ask(w, "api.failure.conflict", 409, asService(shop, "POST", eventsPath, `{"id":"n","type":"discount","receiver_id":66,"message":"y","title":"x","details":{}}`))
	l.ask(w, "api.failure.too_large", 413, asService(shop, "POST", eventsPath, `{"id":"`+strings.Repeat("x", 70_000)+`"}`))
	l.ask(w, "api.failure.forbidden", 403, asService(directory, "POST", eventsPath, `{}`))
	l.ask(w, "api.failure.unsupported_media_type", 415, call{method: "DELETE", path: androidPath, auth: ani, media: "text/plain", body: "x"})
	l.ask(w, "api.failure.invalid", 422, asAni("GET", listPath+"?page=x", ""))
	l.ask(w, "api.failure.not_found", 404, call{method: "GET", path: "/v2/nothing.json"})
	l.ask(w, "api.failure.method_not_allowed", 405, call{method: "DELETE", path: listPath})
	l.ask(w, "api.failure.gone", 410, call{method: "GET", path: "/v1/notifications.json"})
	l.ask(w, "api.failure.unauthorized", 401, call{method: "GET", path: listPath, auth: "66:wrong"})
}

// An askedPublisher counts how often it is asked for a user's language. It always says
// English.
type askedPublisher struct {
	fakePublisher
	times int
	err   error
}

func (d *askedPublisher) LocaleOf(context.Context, int64, string) (text.Locale, error) {
	d.times++
	return text.English, d.err
}

// A profile is looked up only for an answer that has a text, when the request names no
// language. This happens at most once a minute, and not while Redis is away.
func TestLanguagesAreLookedUpSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counters, d := &fakeCounters{}, &askedPublisher{}
		h := New(Options{Counters: counters, Credentials: fakeCredentials{}, Publisher: d})
		const none = textOfCode + string(notFound)
		for _, step := range []struct {
			name    string
			wait    time.Duration
			accept  string
			err     error // of the request itself
			profile error // of the profile look-up
			message string
			times   int // look-ups of the profile so far
		}{
			{"nothing to say", 0, "", nil, nil, "", 0},
			{"Redis is away", 0, "", io.EOF, nil, saying(text.Indonesian, textOfCode+string(unavailable)), 0},
			{"the request says", 0, "id", inbox.ErrNotFound, nil, saying(text.Indonesian, none), 0},
			{"the profile cannot be read", 0, "", inbox.ErrNotFound, io.EOF, saying(text.Indonesian, none), 1},
			{"nothing is known", 0, "", inbox.ErrNotFound, nil, saying(text.English, none), 2},
			{"known", localeFresh - 1, "", inbox.ErrNotFound, nil, saying(text.English, none), 2},
			{"not fresh any more", 1, "", inbox.ErrNotFound, nil, saying(text.English, none), 3},
		} {
			time.Sleep(step.wait) // on the synctest bubble's clock
			counters.err, d.err = step.err, step.profile
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

// The configuration sets the default language and can replace texts.
func TestAnswersSpeakAsConfigured(t *testing.T) {
	folder := t.TempDir()
	check(t, os.WriteFile(filepath.Join(folder, "en.yaml"), []byte("api: {failure: {not_found: Gone fishing}}"), 0o600))
	texts, err := text.New(text.Options{Folder: folder})
	check(t, err)
	h := New(Options{Publisher: fakePublisher{}, Texts: texts, Locale: text.English})
	for accept, want := range map[string]string{"": "Gone fishing", "fr": "Gone fishing", "id": "Tidak ditemukan"} {
		r := httptest.NewRequest("GET", "/v2/nothing.json", nil)
		r.Header.Set("Accept-Language", accept)
		if e := serve(h, r).envelope(t); e.Message != want {
			t.Errorf("%q: %q", accept, e.Message)
		}
	}
}
