package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const messagesPath = "/v2/messages.json"

var anisAndBudis = model.ConversationID(66, 67)

// said is the answer to sending a message.
type said struct {
	Status, Message string
	ID              *string
	ClientID        *string `json:"client_id"`
	ConversationID  *string `json:"conversation_id"`
}

func (a answer) said(t *testing.T) said {
	t.Helper()
	var s said
	check(t, json.Unmarshal([]byte(a.body), &s))
	for _, member := range []string{`"id":`, `"client_id":`, `"conversation_id":`} {
		if !strings.Contains(a.body, member) {
			t.Errorf("%s lacks %s", a.body, member)
		}
	}
	return s
}

// say sends a message as a user and returns its id.
func (w *world) say(auth, receiver, text string) string {
	w.t.Helper()
	body := fmt.Sprintf(`{"instant_message":{"receiver_id":%q,"category":0,"body_bb":%q}}`, receiver, text)
	got := w.must(w.do(call{method: "POST", path: messagesPath, auth: auth, media: typeJSON, body: body}), 200).said(w.t)
	return *got.ID
}

// texts returns the bodies of the messages in a user's conversation, newest first.
func (w *world) texts(auth, query string) []string {
	w.t.Helper()
	got := w.must(w.do(call{method: "GET", path: "/v2/messages/" + anisAndBudis + ".json" + query, auth: auth}), 200)
	var page struct {
		InstantMessages []inbox.InstantMessage `json:"instant_messages"`
	}
	check(w.t, json.Unmarshal([]byte(got.body), &page))
	texts := []string{}
	for _, m := range page.InstantMessages {
		texts = append(texts, m.Body)
	}
	return texts
}

// entries returns the partners that a user's inbox lists.
func (w *world) entries(auth, query string) (partners []string, unread int) {
	w.t.Helper()
	got := w.must(w.do(call{method: "GET", path: messagesPath + query, auth: auth}), 200)
	var page struct {
		Unread int
		Inbox  []inboxEntry
	}
	check(w.t, json.Unmarshal([]byte(got.body), &page))
	for _, e := range page.Inbox {
		partners = append(partners, e.PartnerID)
	}
	return partners, page.Unread
}

func TestMessagesNeedASignIn(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []call{
		{method: "GET", path: messagesPath},
		{method: "POST", path: messagesPath},
		{method: "GET", path: "/v2/messages/emoticons.json"},
		{method: "GET", path: "/v2/messages/" + anisAndBudis + ".json"},
		{method: "DELETE", path: "/v2/messages/" + anisAndBudis + ".json"},
		{method: "GET", path: "/v2/messages/im/" + anisAndBudis + ".json"},
		{method: "DELETE", path: "/v2/messages/im/" + anisAndBudis + ".json"},
		{method: "GET", path: "/v2/users/contact_list.json"},
		{method: "POST", path: "/v2/users/chat_attachments.json"},
		{method: "POST", path: "/v2/live/ticket.json"},
	} {
		w.fails(w.do(c), 401, unauthorized)
		c.auth = "Bearer " + shop
		w.fails(w.do(c), 401, unauthorized)
	}
}

func TestMessagesThatCannotBeSent(t *testing.T) {
	w := newWorld(t, nil)
	const (
		format = "Gagal mengirim pesan: harap menggunakan format yang seharusnya"
		nobody = "Tidak dapat mengirim pesan kepada pembeli"
	)
	im := func(members string) string { return `{"instant_message":{` + members + `}}` }
	const to67 = `"receiver_id":67,"category":"0"`
	for body, want := range map[string]struct {
		status       int
		text         string
		conversation bool
		fields       []string
	}{
		`{}`:                      {422, format, false, []string{"receiver_id", "category", "body_bb"}},
		`{"instant_message":"x"}`: {422, format, false, []string{"receiver_id", "category", "body_bb"}},
		`{"receiver_id":67,"category":0,"body_bb":"x"}`:                            {422, format, false, []string{"receiver_id", "category", "body_bb"}},
		im(`"category":0,"body_bb":"x"`):                                           {422, format, false, []string{"receiver_id"}},
		im(`"receiver_id":"","category":0,"body_bb":"x"`):                          {422, format, false, []string{"receiver_id"}},
		im(`"receiver_id":67,"body_bb":"x"`):                                       {422, format, true, []string{"category"}},
		im(to67):                                                                   {422, format, true, []string{"body_bb"}},
		im(to67 + `,"body_bb":"  \n"`):                                             {422, format, true, []string{"body_bb"}},
		im(to67 + `,"body_bb":{"x":"y"}`):                                          {422, format, true, []string{"body_bb"}},
		im(to67 + `,"body_bb":"` + strings.Repeat("é", 4001) + `"`):                {422, format, true, []string{"body_bb"}},
		im(`"receiver_id":67,"category":"x","body_bb":"x"`):                        {422, format, true, []string{"category"}},
		im(`"receiver_id":67,"category":7,"body_bb":"x"`):                          {422, format, true, []string{"category"}},
		im(to67 + `,"body_bb":"x","client_id":"` + strings.Repeat("x", 129) + `"`): {422, format, true, []string{"client_id"}},
		im(`"receiver_id":"067","category":0,"body_bb":"x"`):                       {422, nobody, false, []string{"receiver_id"}},
		im(`"receiver_id":66,"category":0,"body_bb":"x"`):                          {422, nobody, false, []string{"receiver_id"}},
		im(`"receiver_id":68,"category":0,"body_bb":"x"`):                          {404, nobody, true, []string{"receiver_id"}},
		`{"instant_message":`:                                                      {400, format, false, []string{"body"}},
	} {
		got := w.must(w.do(call{method: "POST", path: messagesPath, auth: ani, media: typeJSON, body: body}), want.status)
		s := got.said(t)
		if s.Message != want.text || s.ID != nil || (s.ConversationID != nil) != want.conversation {
			t.Errorf("%.80s: %s", body, got.body)
		}
		errors := got.envelope(t).Errors
		for _, f := range want.fields {
			if errors[f] == "" {
				t.Errorf("%.80s: %v does not name %s", body, errors, f)
			}
		}
		if len(errors) != len(want.fields) {
			t.Errorf("%.80s: %v, want %v", body, errors, want.fields)
		}
	}
	got := w.must(w.do(call{method: "POST", path: messagesPath, auth: ani, media: "text/plain", body: "x"}), 415)
	if s := got.said(t); s.Message != format {
		t.Error(got.body)
	}
	got = w.must(w.basic(ani, "POST", messagesPath, "instant_message[client_id]=%ff"), 422)
	if s := got.said(t); s.ClientID != nil {
		t.Error(got.body)
	}
	if texts, unread := w.entries(budi, ""); len(texts) != 0 || unread != 0 {
		t.Errorf("sent: %v", texts)
	}
}

func TestMessageMayComeInAnyForm(t *testing.T) {
	w := newWorld(t, nil)
	for text, c := range map[string]call{
		"json":      {media: typeJSON, body: `{"instant_message":{"receiver_id":67,"category":"0","body_bb":"json","client_id":7},"product_id":"mwza"}`},
		"form":      {media: typeForm, body: "instant_message%5Breceiver_id%5D=67&instant_message[category]=0&instant_message[body_bb]=form&instant_message[client_id]=7f"},
		"multipart": {media: boundary, body: part("instant_message[receiver_id]", "67") + part("instant_message[category]", "0") + part("instant_message[body_bb]", "multipart") + part("instant_message[client_id]", "7m") + "--XX--"},
		"query":     {path: "?instant_message[receiver_id]=67&instant_message[category]=0&instant_message[body_bb]=query&instant_message[client_id]=7q"},
	} {
		c.method, c.path, c.auth = "POST", messagesPath+c.path, ani
		got := w.must(w.do(c), 200).said(t)
		if got.ClientID == nil || (*got.ClientID)[0] != '7' || *got.ConversationID != anisAndBudis {
			t.Errorf("%s: %+v", text, got)
		}
		again := w.must(w.do(c), 200).said(t)
		if *again.ID != *got.ID {
			t.Errorf("%s: sent twice", text)
		}
		if texts := w.texts(budi, "?per_page=1"); texts[0] != text {
			t.Errorf("%s: %q", text, texts)
		}
	}
}

func TestInboxPages(t *testing.T) {
	w := newWorld(t, nil)
	for user := 101; user <= 112; user++ {
		w.must(w.bearer(directory, "PUT", fmt.Sprintf("/v2/users/%d.json", user), `{"token":"t"}`), 200)
		w.say(fmt.Sprintf("%d:t", user), "66", fmt.Sprintf("halo dari %d", user))
	}
	w.say(ani, "105", "balas")
	for query, want := range map[string]struct {
		partners string
		unread   int
	}{
		"":                               {"105 112 111 110 109 108 107 106 104 103", 12},
		"?page=2":                        {"102 101", 12},
		"?page=3":                        {"", 12},
		"?per_page=2&page=2":             {"111 110", 12},
		"?filter=unread&per_page=1":      {"105", 12},
		"?search=dari+HALO&per_page=2":   {"105 112", 12},
		"?search=%22halo+dari+1%22":      {"105 112 111 110 109 108 107 106 104 103", 12},
		"?search=balas":                  {"105", 12},
		"?search=balas+halo":             {"", 12},
		"?search=!%3F":                   {"", 12},
		"?search=&per_page=1":            {"105", 12},
		"?search=110&filter=unread":      {"110", 12},
		"?per_page=1&page=99999999999":   {"", 12},
		"?search=dari&page=9&per_page=2": {"", 12},
	} {
		partners, unread := w.entries(ani, query)
		if got := strings.Join(partners, " "); got != want.partners || unread != want.unread {
			t.Errorf("%s: %s, %d unread", query, got, unread)
		}
	}
	w.fails(w.get(messagesPath+"?page=0&per_page=x"), 422, invalid, "page", "per_page")
	w.fails(w.get(messagesPath+"?search="+strings.Repeat("x", maxSearch+1)), 422, invalid, "search")
}

func TestInboxIsTagged(t *testing.T) {
	w := newWorld(t, nil)
	id := w.say(budi, "66", "halo")
	for _, path := range []string{messagesPath, "/v2/messages/" + anisAndBudis + ".json?keep_unread=1", "/v2/messages/emoticons.json", "/v2/users/contact_list.json"} {
		tag := w.must(w.get(path), 200).header.Get("ETag")
		if tag == "" {
			t.Fatalf("%s has no tag", path)
		}
		w.must(w.do(call{method: "GET", path: path, auth: ani, header: map[string]string{"If-None-Match": tag}}), 304)
	}
	tag := w.must(w.get(messagesPath), 200).header.Get("ETag")
	w.must(w.get("/v2/messages/im/"+id+".json"), 200) // marks it as read
	w.must(w.do(call{method: "GET", path: messagesPath, auth: ani, header: map[string]string{"If-None-Match": tag}}), 200)
}

func TestReadingFlagsWhatIsRead(t *testing.T) {
	w := newWorld(t, nil)
	first := w.say(budi, "66", "satu")
	for range 3 {
		w.say(budi, "66", "dua")
	}
	left := func(want int, after string) {
		t.Helper()
		if _, unread := w.entries(ani, ""); unread != want {
			t.Errorf("%d unread after %s, want %d", unread, after, want)
		}
	}
	w.texts(ani, "?keep_unread=1")
	left(4, "keeping")
	w.must(w.do(call{method: "GET", path: "/v2/messages/im/" + first + ".json", auth: budi}), 200)
	left(4, "the sender's look")
	w.must(w.get("/v2/messages/im/"+first+".json"), 200)
	left(3, "one message")
	w.texts(ani, "?keep_unread=0&per_page=1")
	left(0, "the conversation")
	w.say(ani, "67", "tiga")
	got := w.must(w.do(call{method: "GET", path: messagesPath, auth: ani}), 200)
	if !strings.Contains(got.body, `"last_message_read":false`) {
		t.Errorf("Budi has not read it: %s", got.body)
	}
	w.texts(budi, "")
	got = w.must(w.do(call{method: "GET", path: messagesPath, auth: ani}), 200)
	if !strings.Contains(got.body, `"last_message_read":true`) {
		t.Errorf("Budi has read it: %s", got.body)
	}
}

func TestOtherPeoplesMessages(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.bearer(directory, "PUT", "/v2/users/68.json", `{"token":"t"}`), 200)
	id := w.say(budi, "66", "rahasia")
	for _, path := range []string{
		"/v2/messages/" + anisAndBudis + ".json", "/v2/messages/" + anisAndBudis + ".json?keep_unread=1", "/v2/messages/im/" + id + ".json",
		"/v2/messages/x.json", "/v2/messages/im.json", "/v2/messages/im/x.json", "/v2/messages/im/%ff.json", "/v2/messages/" + id + ":unread.json",
	} {
		got := w.do(call{method: "GET", path: path, auth: "68:t"})
		if e := w.fails(got, 403, forbidden); e.Message != saying(text.Indonesian, textNotYours) || !strings.Contains(got.body, `"instant_messages":null`) {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	for path, text := range map[string]string{
		"/v2/messages/" + anisAndBudis: saying(text.Indonesian, textConversationNotDeleted),
		"/v2/messages/" + id:           saying(text.Indonesian, textConversationNotDeleted),
		"/v2/messages/%ff":             saying(text.Indonesian, textConversationNotDeleted),
		"/v2/messages/im/" + id:        saying(text.Indonesian, textMessageNotDeleted),
		"/v2/messages/im/x":            saying(text.Indonesian, textMessageNotDeleted),
	} {
		e := w.fails(w.do(call{method: "DELETE", path: path + ".json", auth: "68:t"}), 404, notFound)
		if e.Message != text || e.ID == nil {
			t.Errorf("%s: %+v", path, e)
		}
	}
	if diff := cmp.Diff([]string{"rahasia"}, w.texts(ani, "")); diff != "" {
		t.Error(diff)
	}
}

func TestDeletingIsOneSided(t *testing.T) {
	w := newWorld(t, nil)
	w.say(budi, "66", "satu")
	id := w.say(ani, "67", "dua")
	w.must(w.do(call{method: "DELETE", path: "/v2/messages/im/" + id + ".json", auth: ani}), 200)
	if diff := cmp.Diff([]string{"satu"}, w.texts(ani, "")); diff != "" {
		t.Error(diff)
	}
	w.must(w.do(call{method: "DELETE", path: "/v2/messages/" + anisAndBudis + ".json", auth: ani}), 200)
	w.fails(w.get("/v2/messages/"+anisAndBudis+".json"), 403, forbidden)
	if diff := cmp.Diff([]string{"dua", "satu"}, w.texts(budi, "")); diff != "" {
		t.Error(diff)
	}
	w.say(budi, "66", "tiga")
	if diff := cmp.Diff([]string{"tiga"}, w.texts(ani, "")); diff != "" {
		t.Error(diff)
	}
}

func TestDeletingWhileRedisIsAway(t *testing.T) {
	h := New(Options{Credentials: fakeCredentials{}, Publisher: fakePublisher{}, Conversations: awayConversations{}})
	for _, path := range []string{"/v2/messages/", "/v2/messages/im/"} {
		got := request(h, "DELETE", path+anisAndBudis+".json", "")
		if e := got.envelope(t); got.status != 503 || e.Code != unavailable || e.ID == nil || *e.ID != anisAndBudis {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	got := request(h, "GET", "/v2/messages/im/"+anisAndBudis+".json", "")
	if got.status != 503 || !strings.Contains(got.body, `"instant_messages":null`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestMessagesAreSafeToShow(t *testing.T) {
	w := newWorld(t, nil)
	w.say(budi, "66", "[b]<script>alert(1)</script>[/b]\n[url=javascript:x]klik[/url]")
	if diff := cmp.Diff([]string{"<strong>&lt;script&gt;alert(1)&lt;/script&gt;</strong>\nklik"}, w.texts(ani, "")); diff != "" {
		t.Error(diff)
	}
	got := w.must(w.get(messagesPath), 200)
	if !strings.Contains(got.body, `"last_message":"<script>alert(1)</script> klik"`) {
		t.Error(got.body) // must be plain text, not HTML
	}
}

func TestNothingOfAChatIsLogged(t *testing.T) {
	w := newWorld(t, nil)
	w.say(ani, "67", "wh1sper")
	w.fails(w.do(call{method: "POST", path: messagesPath, auth: ani, media: typeJSON, body: `{"instant_message":{"receiver_id":67,"category":9,"body_bb":"unsa1d"}}`}), 422, invalid, "category")
	w.must(w.get(messagesPath+"?search=wh1sp"), 200)
	address := *w.must(w.upload("h1dden.png", uploads[".png"]), 200).uploaded(t).URL
	w.must(w.fetch(address, nil), 200)
	ticket := w.ticket()
	w.fails(w.do(call{method: "GET", path: livePath + "?ticket=" + ticket}), 404, notFound)
	log := w.log.String()
	if !strings.Contains(log, `"route":"/v2/chat_attachments/{key}/{name}"`) {
		t.Fatalf("requests are not in the debug log:\n%s", log)
	}
	key := strings.TrimSuffix(address, "/h1dden.png")
	for _, private := range []string{"wh1sp", "unsa1d", "h1dden", ticket, key[len(key)-32:]} {
		if strings.Contains(log, private) {
			t.Errorf("the log holds %q", private)
		}
	}
}

// awayChat and awayConversations behave as if Redis could not be reached.
type awayChat struct{ Chat }

func (awayChat) Send(context.Context, int64, chat.OutgoingMessage) (string, error) {
	return "", io.EOF
}

type awayConversations struct{ Conversations }

func (awayConversations) Message(context.Context, int64, string) (inbox.Message, error) {
	return inbox.Message{}, io.EOF
}
func (awayConversations) Delete(context.Context, int64, string) error        { return io.EOF }
func (awayConversations) DeleteMessage(context.Context, int64, string) error { return io.EOF }
