package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	eventsPath = "/v2/events.json"
	oneEvent   = `{"id":"trx-1","type":"dompet","receiver_id":66,"message":"m"}`
)

func TestPublishOne(t *testing.T) {
	w := newWorld(t, nil)
	if got := w.must(w.publish(oneEvent), 202); got.body != `{"status":"OK","id":"trx-1","duplicate":false,"message":null}` {
		t.Errorf("answered %s", got.body)
	}
	reordered := "\n {\"message\":\"m\", \"receiver_ids\":[\"66\"], \"type\":\"dompet\", \"id\":\"trx-1\"} \n"
	if got := w.must(w.publish(reordered), 202); got.body != `{"status":"OK","id":"trx-1","duplicate":true,"message":null}` {
		t.Errorf("answered a repeat %s", got.body)
	}
	e := w.fails(w.publish(strings.Replace(oneEvent, `"m"`, `"other"`, 1)), 409, conflict)
	if e.ID == nil || *e.ID != "trx-1" {
		t.Errorf("conflict of %+v", e)
	}
	// The same id from another service is a different event.
	if got := w.must(w.bearer(shop2, "POST", eventsPath, oneEvent), 202).envelope(t); *got.Duplicate {
		t.Error("services share ids")
	}
	made := w.must(w.publish(`{"type":"dompet","receiver_id":66,"message":"m"}`), 202).envelope(t)
	if made.ID == nil || len(*made.ID) < 16 {
		t.Errorf("made up the id %v", made.ID)
	}
	for _, media := range []string{"", "Application/JSON; charset=utf-8"} {
		w.must(w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: media, body: oneEvent}), 202)
	}
	w.must(w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: typeJSON, body: oneEvent, chunked: true}), 202)
	if got := w.must(w.get(unreadsPath), 200); !strings.Contains(got.body, `"unread_notifications":3,`) {
		t.Errorf("counted %s", got.body)
	}
}

// ofSize returns an event of exactly n bytes.
func ofSize(n int) string {
	const head, tail = `{"type":"dompet","receiver_id":66,"message":"m","details":{"x":"`, `"}}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func TestRefusedEvents(t *testing.T) {
	w := newWorld(t, nil)
	for name, tc := range map[string]struct {
		media, body string
		status      int
		code        code
		fields      []string
	}{
		"nothing":            {typeJSON, "", 422, invalid, []string{"body"}},
		"only spaces":        {typeJSON, " \n", 422, invalid, []string{"body"}},
		"no members":         {typeJSON, "{}", 422, invalid, []string{"type", "receiver_id"}},
		"unknown type":       {typeJSON, `{"type":"x","receiver_id":66}`, 422, invalid, []string{"type"}},
		"receiver":           {typeJSON, `{"type":"dompet","message":"m","receiver_id":"066"}`, 422, invalid, []string{"receiver_id"}},
		"a string":           {typeJSON, `"event"`, 422, invalid, []string{"event"}},
		"null":               {typeJSON, `null`, 422, invalid, []string{"event"}},
		"cut off":            {typeJSON, `{"type":"dompet"`, 400, malformed, []string{"event"}},
		"two without a list": {typeJSON, oneEvent + oneEvent, 400, malformed, []string{"event"}},
		"names twice":        {typeJSON, `{"type":"dompet","type":"dompet"}`, 400, malformed, []string{"event"}},
		"not UTF-8":          {typeJSON, "{\"type\":\"\xff\"}", 400, malformed, []string{"event"}},
		"too large":          {typeJSON, ofSize(event.MaxEventSize + 1), 413, tooLarge, []string{"event"}},
		"a form":             {typeForm, oneEvent, 415, unsupportedMedia, []string{"Content-Type"}},
		"text":               {"text/plain", oneEvent, 415, unsupportedMedia, []string{"Content-Type"}},
		"no type at all":     {";", oneEvent, 415, unsupportedMedia, []string{"Content-Type"}},
		"an empty list":      {typeJSON, "[ ]", 422, invalid, []string{"body"}},
		"a list cut off":     {typeJSON, "[" + oneEvent + ",", 400, malformed, []string{"body"}},
		"a list spoilt":      {typeJSON, "[" + oneEvent + " " + oneEvent + "]", 400, malformed, []string{"body"}},
		"a list and more":    {typeJSON, "[" + oneEvent + "]]", 400, malformed, []string{"body"}},
		"two lists":          {typeJSON, "[" + oneEvent + "] [" + oneEvent + "]", 400, malformed, []string{"body"}},
		"too long a list":    {typeJSON, "[" + strings.Repeat("{},", maxEvents) + "{}]", 413, tooLarge, []string{"body"}},
		"no lines":           {typeNDJSON, "\n \r\n\n", 422, invalid, []string{"body"}},
		"too many lines":     {typeNDJSON, strings.Repeat("{}\n", maxEvents+1), 413, tooLarge, []string{"body"}},
		"beyond 8 MiB":       {typeNDJSON, strings.Repeat(" ", eventsBody) + oneEvent, 413, tooLarge, []string{"body"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: tc.media, body: tc.body})
			w.fails(got, tc.status, tc.code, tc.fields...)
		})
	}
	w.must(w.publish(ofSize(event.MaxEventSize)), 202)
	if got := w.must(w.get(unreadsPath), 200); !strings.Contains(got.body, `"unread_notifications":1,`) {
		t.Errorf("something of what was refused was stored: %s", got.body)
	}
}

func TestPublishSeveral(t *testing.T) {
	items := []string{
		`{"id":"a","type":"dompet","receiver_id":66,"message":"a"}`,
		`{"id":"b","type":"nothing","receiver_id":66,"message":"b"}`,
		`{"id":"c","type":"dompet","receiver_ids":[66,67],"message":"c"}`,
		`{"id":"a","type":"dompet","receiver_id":66,"message":"a"}`,
		`{"id":"a","type":"dompet","receiver_id":66,"message":"other"}`,
		`7`,
		`{"type":"dompet","type":"dompet"}`,
		ofSize(event.MaxEventSize + 1),
		`{"id":"d","type":"cart","receiver_id":66,"details":{"cart_items":3}}`,
	}
	for name, c := range map[string]call{
		"a list":                {media: typeJSON, body: " [" + strings.Join(items, " ,\n ") + "] "},
		"lines":                 {media: typeNDJSON, body: strings.Join(items, "\n")},
		"lines, other name":     {media: typeNDJSON2, body: "\n" + strings.Join(items, "\r\n\n") + "\n"},
		"a list, length hidden": {media: typeJSON, body: "[" + strings.Join(items, ",") + "]", chunked: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			c.method, c.path, c.auth = "POST", eventsPath, "Bearer "+shop
			got := w.must(w.do(c), 200)
			results := got.envelope(t).Results
			if len(results) != len(items) {
				t.Fatalf("%d results of %d: %s", len(results), len(items), got.body)
			}
			for i, want := range []struct {
				id        string // "" for null
				code      code   // "" for success
				duplicate bool
				field     string
			}{
				{id: "a"},
				{code: invalid, field: "type"},
				{id: "c"},
				{id: "a", duplicate: true},
				{id: "a", code: conflict},
				{code: invalid, field: "event"},
				{code: malformed, field: "event"},
				{code: tooLarge, field: "event"},
				{id: "d"},
			} {
				r := results[i]
				switch {
				case r.Code != want.code || (r.ID == nil) != (want.id == "") || r.ID != nil && *r.ID != want.id:
					t.Errorf("%d: %+v, want %+v", i, r, want)
				case want.code == "" && (r.Status != "OK" || r.Duplicate == nil || *r.Duplicate != want.duplicate || r.Message != ""):
					t.Errorf("%d: %+v, want %+v", i, r, want)
				case want.code != "" && (r.Status != "ERROR" || r.Message == "" || (want.field != "") != (r.Errors[want.field] != "")):
					t.Errorf("%d: %+v, want %+v", i, r, want)
				}
			}
			if got := w.must(w.get(unreadsPath), 200); !strings.Contains(got.body, `"unread_notifications":2,`) || !strings.Contains(got.body, `"cart_items":3`) {
				t.Errorf("counted %s", got.body)
			}
		})
	}
}

func TestABatchOfOne(t *testing.T) {
	w := newWorld(t, nil)
	for media, body := range map[string]string{typeJSON: "[" + oneEvent + "]", typeNDJSON: oneEvent} {
		got := w.must(w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: media, body: body}), 200)
		if len(got.envelope(t).Results) != 1 {
			t.Errorf("%s: answered %s", media, got.body)
		}
	}
	if got := w.must(w.publish("["+strings.TrimSuffix(strings.Repeat(oneEvent+",", maxEvents), ",")+"]"), 200); len(got.envelope(t).Results) != maxEvents {
		t.Errorf("%d results", len(got.envelope(t).Results))
	}
}

func TestABatchIsPublishedInOneGo(t *testing.T) {
	calls := 0
	h := New(Options{
		Publisher: fakePublisher{calls: &calls, err: rdb.ErrReplicas},
		Services:  services,
	})
	r := call{method: "POST", path: eventsPath}
	got := requestAsShop(h, r.method, r.path, "["+oneEvent+","+oneEvent+","+oneEvent+"]")
	if calls != 1 {
		t.Errorf("%d calls of Publish", calls)
	}
	for i, result := range got.envelope(t).Results {
		if result.Code != unavailable || result.ID == nil || *result.ID != "e" {
			t.Errorf("%d: %+v", i, result)
		}
	}
	got = requestAsShop(h, r.method, r.path, oneEvent)
	if e := got.envelope(t); got.status != 503 || e.Code != unavailable || *e.ID != "e" || got.header.Get("Retry-After") == "" {
		t.Errorf("one: %d %s", got.status, got.body)
	}
}

func TestShowEvent(t *testing.T) {
	senders, _ := accepting()
	w := newWorld(t, senders)
	w.must(w.basic(ani, "POST", androidPath, "reg_id=A"), 200)
	w.must(w.basic(ani, "POST", iosPath, "token=B"), 200)
	w.at("2016-01-11T13:08:30.768+07:00")
	w.must(w.publish(`{"id":"e","type":"dompet","receiver_ids":[67,66],"message":"m","options":{"ttl":"1h"}}`), 202)

	type shown struct {
		Status    string
		ID        string
		Message   *string
		Receivers []struct {
			ReceiverID     int64     `json:"receiver_id"`
			NotificationID string    `json:"notification_id"`
			StoredAt       time.Time `json:"stored_at"`
			Push           string
			Devices        []struct {
				Platform, Outcome string
				Reason            *string
				ProviderID        *string `json:"provider_id"`
				Attempts          int
			}
		}
	}
	show := func() (s shown) {
		check(t, json.Unmarshal([]byte(w.must(w.bearer(shop, "GET", "/v2/events/e.json", ""), 200).body), &s))
		return s
	}
	got := w.must(w.bearer(shop, "GET", "/v2/events/e.json", ""), 200)
	for _, want := range []string{
		`{"status":"OK","id":"e","receivers":[{"receiver_id":66,"notification_id":"569346de`,
		`"stored_at":"2016-01-11T13:08:30.768+07:00","live":false,"push":"waiting","devices":[],"receipts":[]}`,
		`"receiver_id":67,`, `],"message":null}`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s\nlacks %s", got.body, want)
		}
	}

	w.run()
	check(t, poll(func() bool { return show().Receivers[0].Push == "done" && len(show().Receivers[0].Devices) == 2 }))
	for i, d := range show().Receivers[0].Devices {
		if d.Outcome != "accepted" || d.Reason != nil || d.ProviderID == nil || *d.ProviderID != "provider-id" || d.Attempts != 1 {
			t.Errorf("device %d: %+v", i, d)
		}
	}
	if other := show().Receivers[1]; other.ReceiverID != 67 || len(other.Devices) != 0 {
		t.Errorf("the receiver without devices: %+v", other)
	}
	w.fails(w.bearer(shop2, "GET", "/v2/events/e.json", ""), 404, notFound) // it belongs to another service
	w.fails(w.bearer(shop, "GET", "/v2/events/x.json", ""), 404, notFound)
}

// A push that waits says since when and why; members that do not apply are absent.
func TestShowWhyAPushWaits(t *testing.T) {
	at := time.Date(2026, 3, 1, 7, 30, 0, 0, time.UTC)
	h := New(Options{Services: services, Location: time.UTC, Deliveries: fakeDeliveries{statuses: []delivery.ReceiverStatus{{
		Receiver: 66, NotificationID: "69a3ecd81a2b3c4d5e6f7081", StoredAt: at, Push: "retrying",
		Devices: []delivery.DeviceStatus{
			{
				Device: "9f86d081884c7d65", Route: toAndroid, Outcome: "circuit_open", Reason: push.ReasonCircuitOpen, Attempts: 1,
				At: at.Add(time.Minute), Since: at, Why: "UNAUTHENTICATED",
			},
			{Device: "b5bb9d8014a0f9b1", Route: toIOS, Outcome: "retrying", Reason: "ServiceUnavailable", Attempts: 2, At: at},
		},
	}}}})
	got := requestAsShop(h, "GET", "/v2/events/e.json", "")
	const want = `{"status":"OK","id":"e","receivers":[{"receiver_id":66,"notification_id":"69a3ecd81a2b3c4d5e6f7081",` +
		`"stored_at":"2026-03-01T07:30:00.000Z","live":false,"push":"retrying","devices":[` +
		`{"device":"9f86d081884c7d65","app":"default","platform":"android","outcome":"circuit_open","reason":"circuit_open","provider_id":null,` +
		`"attempts":1,"at":"2026-03-01T07:31:00.000Z","since":"2026-03-01T07:30:00.000Z","why":"UNAUTHENTICATED"},` +
		`{"device":"b5bb9d8014a0f9b1","app":"default","platform":"ios","environment":"production","outcome":"retrying","reason":"ServiceUnavailable","provider_id":null,` +
		`"attempts":2,"at":"2026-03-01T07:30:00.000Z"}],"receipts":[]}],"message":null}`
	if got.body != want {
		t.Errorf("answered %s\nwant     %s", got.body, want)
	}
	conforms(t, got)
}

func TestEventIDsInPaths(t *testing.T) {
	w := newWorld(t, nil)
	for _, id := range []string{
		"order.1.json", "a/b", "..", "a%2Fb", "%", "100%", "a?b=c", "a#b", "{id}", `"`, "é", "a+b", "a:b;c", strings.Repeat("x", 128),
	} {
		quoted, err := json.Marshal(id)
		check(t, err)
		w.must(w.publish(fmt.Sprintf(`{"id":%s,"type":"dompet","receiver_id":66,"message":"m"}`, quoted)), 202)
		got := w.do(call{method: "GET", path: "/v2/events/" + url.PathEscape(id) + ".json", auth: "Bearer " + shop})
		if e := w.must(got, 200).envelope(t); *e.ID != id {
			t.Errorf("%q: answered %s", id, got.body)
		}
	}
}

// BenchmarkPublishOne measures the HTTP handler's own cost, without the server and without
// publishing.
func BenchmarkPublishOne(b *testing.B) {
	calls := 0
	h := New(Options{Publisher: fakePublisher{calls: &calls}, Services: services})
	body := strings.NewReader(oneEvent)
	r := httptest.NewRequest("POST", eventsPath, body)
	r.Header.Set("Authorization", "Bearer "+shop)
	r.Header.Set("Content-Type", typeJSON)
	w := discard{}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(oneEvent)
		r.Body = io.NopCloser(body)
		h.ServeHTTP(w, r)
	}
}

// discard is a ResponseWriter that drops the body.
type discard http.Header

func (d discard) Header() http.Header       { return http.Header(d) }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
