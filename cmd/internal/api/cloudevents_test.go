package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cloudhttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/kabar-gateway/kabar/dispatcher/event"
)

// cloudEvent returns an event that is built with the SDK, as services do.
func cloudEvent(t *testing.T, id, source string, data any) cloudevents.Event {
	t.Helper()
	e := cloudevents.NewEvent()
	e.SetID(id)
	e.SetSource(source)
	e.SetType("id.kabar.dompet")
	e.SetTime(time.Date(2014, 1, 23, 6, 48, 51, 0, time.UTC))
	e.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	check(t, e.SetData(cloudevents.ApplicationJSON, data))
	return e
}

type body map[string]any

// The SDK's client can send one event in each of the three modes. Kabar takes it for the
// same event each time.
func TestCloudEventsOfTheSDK(t *testing.T) {
	w := newWorld(t, nil)
	e := cloudEvent(t, "trx-1", "https://shop.example/orders", body{"receiver_id": 66, "message": "m"})
	client, err := cloudevents.NewClientHTTP(
		cloudhttp.WithTarget(w.server.URL+eventsPath), cloudhttp.WithHeader("Authorization", "Bearer "+shop))
	check(t, err)
	for name, ctx := range map[string]context.Context{
		"binary":     cloudevents.WithEncodingBinary(t.Context()),
		"structured": cloudevents.WithEncodingStructured(t.Context()),
	} {
		var status *cloudhttp.Result
		result := client.Send(ctx, e)
		if !cloudevents.ResultAs(result, &status) || !cloudevents.IsACK(result) || status.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %v", name, result)
		}
	}
	other := cloudEvent(t, "trx-1", "https://shop.example/payments", body{"receiver_id": 66, "message": "m"})
	r, err := cloudhttp.NewHTTPRequestFromEvents(t.Context(), w.server.URL+eventsPath, []cloudevents.Event{e, other})
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+shop)
	resp, err := w.server.Client().Do(r)
	check(t, err)
	got := readAnswer(t, resp)
	if got.status != 200 || !strings.Contains(got.body, `[{"status":"OK","id":"trx-1","duplicate":true,"message":null},{"status":"OK","id":"trx-1","duplicate":false,"message":null}]`) {
		t.Errorf("batch: %d %s", got.status, got.body)
	}
	if got := w.must(w.get(unreadsPath), 200); !strings.Contains(got.body, `"unread_notifications":2,`) {
		t.Errorf("counted %s", got.body)
	}
}

// structured sends a CloudEvent as JSON.
func (w *world) structured(key, body string) answer {
	w.t.Helper()
	return w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + key, media: typeCloudEvent + "; charset=utf-8", body: body})
}

func TestCloudEventIsFound(t *testing.T) {
	w := newWorld(t, nil)
	const ce = `{"specversion":"1.0","id":"a/1","source":"/orders of shop","type":"dompet","data":{"receiver_id":66,"message":"m"}}`
	w.must(w.structured(shop, ce), 202)
	path := "/v2/events/a%2F1.json"
	show := func(key, source string) answer {
		return w.do(call{method: "GET", path: path + source, auth: "Bearer " + key})
	}
	w.must(show(shop, "?source="+url.QueryEscape("/orders of shop")), 200)
	w.fails(show(shop, ""), 404, notFound)
	w.fails(show(shop, "?source=/orders"), 404, notFound)
	w.fails(show(shop2, "?source="+url.QueryEscape("/orders of shop")), 404, notFound)

	// The same id from another service, or in a plain event, is a different event.
	if got := w.must(w.structured(shop2, ce), 202).envelope(t); *got.Duplicate {
		t.Error("services share sources")
	}
	if got := w.must(w.publish(`{"id":"a/1","type":"dompet","receiver_id":66,"message":"m"}`), 202).envelope(t); *got.Duplicate {
		t.Error("a plain event is taken for the CloudEvent")
	}
	if got := w.must(w.structured(shop, ce), 202).envelope(t); !*got.Duplicate {
		t.Error("a repeat is not recognised")
	}
	w.fails(w.structured(shop, strings.Replace(ce, `"m"`, `"other"`, 1)), 409, conflict)
}

func TestCloudEventMapping(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(`{"receiver_id":66,"message":"m"}`))
	for name, tc := range map[string]struct{ attributes, listed, warnings string }{
		"subject":               {`"type":"id.kabar.dompet","subject":"users/66","data":{"message":"m"}`, `"m"`, ""},
		"data before subject":   {`"type":"dompet","subject":"users/67","data":{"receiver_ids":[66],"message":"m"}`, `"m"`, ""},
		"base64":                {`"type":"dompet","data_base64":"` + encoded + `"`, `"m"`, ""},
		"base64 and type":       {`"datacontenttype":"application/json","type":"dompet","data_base64":"` + encoded + `"`, `"m"`, ""},
		"attributes overrule":   {`"type":"dompet","data":{"id":"y","type":"nego","receiver_id":66,"message":"m"}`, `"m"`, ""},
		"nulls are absent":      {`"type":"dompet","subject":null,"time":null,"x":null,"data":{"receiver_id":66,"message":"m"}`, `"m"`, ""},
		"a declared type":       {`"type":"com.example.flash_sale","subject":"users/66"`, `"Flash sale!"`, ""},
		"the type of the data":  {`"datacontenttype":"Application/JSON; charset=utf-8","type":"dompet","data":{"receiver_id":66,"message":"m"}`, `"m"`, ""},
		"extensions":            {`"type":"dompet","partitionkey":"p","n":1,"b":true,"data":{"receiver_id":66,"message":"m"}`, `"m"`, ""},
		"a subject of its own":  {`"type":"dompet","subject":"orders/67","data":{"receiver_id":66,"message":"m"}`, `"m"`, ""},
		"the time of the data":  {`"type":"dompet","data":{"time":"2014-01-23T13:48:51+07:00","receiver_id":66,"message":"m"}`, `"m"`, ""},
		"the event's own time":  {`"type":"dompet","time":"2014-01-23T13:48:51.5+07:00","data":{"time":"x","receiver_id":66,"message":"m"}`, `"m"`, ""},
		"members of the future": {`"type":"dompet","data":{"receiver_id":66,"message":"m","later":{"a":[1]}}`, `"m"`, `"warnings":{"later":"is not a member of an event, and was ignored"},`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			got := w.must(w.structured(shop, `{"id":"e","specversion":"1.0","source":"s",`+tc.attributes+`}`), 202)
			if got.body != `{"status":"OK","id":"e","duplicate":false,`+tc.warnings+`"message":null}` {
				t.Errorf("answered %s", got.body)
			}
			list := w.must(w.get("/v2/notifications/list.json?type[]=dompet&type[]=flash_sale"), 200)
			if !strings.Contains(list.body, `"message":`+tc.listed) {
				t.Errorf("listed %s", list.body)
			}
		})
	}
}

func TestRefusedCloudEvents(t *testing.T) {
	w := newWorld(t, nil)
	const head = `{"specversion":"1.0","id":"e","source":"s","type":"dompet",`
	for name, tc := range map[string]struct {
		body   string
		status int
		code   code
		fields []string
	}{
		"no attributes":    {`{}`, 422, invalid, requiredAttributes},
		"not an object":    {`[1]`, 422, invalid, []string{"event"}},
		"null":             {`null`, 422, invalid, []string{"event"}},
		"another version":  {`{"specversion":"0.3","id":"e","source":"s","type":"dompet"}`, 422, invalid, []string{"specversion"}},
		"no source":        {`{"specversion":"1.0","id":"e","source":null,"type":"dompet"}`, 422, invalid, []string{"source"}},
		"source":           {`{"specversion":"1.0","id":"e","source":"%zz","type":"dompet"}`, 422, invalid, []string{"source"}},
		"a long source":    {`{"specversion":"1.0","id":"e","source":"` + strings.Repeat("s", maxSource+1) + `","type":"dompet"}`, 422, invalid, []string{"source"}},
		"an odd source":    {`{"specversion":"1.0","id":"e","source":"a\u0000b","type":"dompet"}`, 422, invalid, []string{"source"}},
		"id of spaces":     {`{"specversion":"1.0","id":" ","source":"s","type":"dompet"}`, 422, invalid, []string{"id"}},
		"id is a number":   {`{"specversion":"1.0","id":1,"source":"s","type":"dompet"}`, 422, invalid, []string{"id"}},
		"time":             {head + `"time":"today"}`, 422, invalid, []string{"time"}},
		"time is a number": {head + `"time":1}`, 422, invalid, []string{"time"}},
		"text":             {head + `"datacontenttype":"text/plain","data":"x"}`, 422, invalid, []string{"datacontenttype"}},
		"no media type":    {head + `"datacontenttype":"/","data":"x"}`, 422, invalid, []string{"datacontenttype"}},
		"data is a list":   {head + `"data":[1]}`, 422, invalid, []string{"data"}},
		"data is null":     {head + `"data":null}`, 422, invalid, []string{"data"}},
		"base64 number":    {head + `"data_base64":7}`, 422, invalid, []string{"data_base64"}},
		"base64":           {head + `"data_base64":"***"}`, 422, invalid, []string{"data_base64"}},
		"base64 of text":   {head + `"data_base64":"YWJj"}`, 400, malformed, []string{"data"}},
		"data twice":       {head + `"data":{},"data_base64":"e30="}`, 422, invalid, []string{"data_base64"}},
		"an extension":     {head + `"ext":{"a":1},"data":{}}`, 422, invalid, []string{"event"}},
		"a name":           {head + `"a_b":"c","data":{}}`, 422, invalid, []string{"event"}},
		"an empty name":    {head + `"":"c","data":{}}`, 422, invalid, []string{"event"}},
		"names twice":      {head + `"id":"f"}`, 400, malformed, []string{"event"}},
		"cut off":          {head, 400, malformed, []string{"event"}},
		"the event itself": {head + `"data":{"receiver_id":"066"}}`, 422, invalid, []string{"receiver_id", "message"}},
		"subject":          {head + `"subject":"users/x","data":{"message":"m"}}`, 422, invalid, []string{"receiver_id"}},
		"type":             {strings.Replace(head, "dompet", "dompet.v1", 1) + `"data":{"receiver_id":66,"message":"m"}}`, 422, invalid, []string{"type"}},
		"too large":        {head + `"data":{"x":"` + strings.Repeat("x", event.MaxEventSize) + `"}}`, 413, tooLarge, []string{"event"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.fails(w.structured(shop, tc.body), tc.status, tc.code, tc.fields...)
			batch := w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: typeCloudEvents, body: "[" + tc.body + "]"})
			if name != "cut off" { // which makes the whole batch unreadable
				if got := w.must(batch, 200).envelope(t).Results[0]; got.Code != tc.code {
					t.Errorf("in a batch: %+v", got)
				}
			}
		})
	}
	w.fails(w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: typeCloudEvents, body: "{}"}), 400, malformed, "body")
	w.fails(w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: typeCloudEvent, body: ""}), 422, invalid, "body")
	many := "[" + strings.Repeat("{},", maxEvents) + "{}]"
	w.fails(w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: typeCloudEvents, body: many}), 413, tooLarge, "body")
	if got := w.must(w.get(unreadsPath), 200); !strings.Contains(got.body, `"unread_notifications":0,`) {
		t.Errorf("something of what was refused was stored: %s", got.body)
	}
}

func TestBinaryCloudEvents(t *testing.T) {
	w := newWorld(t, nil)
	binary := func(media, data string, header ...string) answer {
		h := map[string]string{"ce-specversion": "1.0", "ce-id": "e", "ce-source": "/s", "ce-type": "id.kabar.dompet"}
		for i := 0; i < len(header); i += 2 {
			h[header[i]] = header[i+1]
		}
		return w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: media, header: h, body: data})
	}
	const data = `{"receiver_id":66,"message":"m"}`
	w.must(binary(typeJSON, data), 202)
	w.must(binary("", data, "ce-id", "f"), 202)
	w.must(binary(typeJSON, `{"message":"m"}`, "ce-subject", "users/66", "ce-id", "g"), 202)
	if got := w.must(binary(typeJSON, data, "ce-id", "%e2%82%ac%22"), 202).envelope(t); *got.ID != `€"` {
		t.Errorf("decoded the id as %q", *got.ID)
	}
	if got := w.must(binary(typeJSON, data, "ce-id", "100%"), 202).envelope(t); *got.ID != "100%" {
		t.Errorf("read the id as %q", *got.ID)
	}
	w.fails(binary(typeJSON, "", "ce-type", "flash_sale", "ce-id", "h"), 422, invalid, "receiver_id")
	w.fails(binary(typeJSON, `{`), 400, malformed, "data")
	w.fails(binary(typeJSON, `"x"`), 422, invalid, "data")
	w.fails(binary("text/plain", data), 422, invalid, "datacontenttype")
	w.fails(binary(typeJSON, data, "ce-specversion", "0.3"), 422, invalid, "specversion")
	w.fails(binary(typeJSON, data, "ce-specversion", ""), 422, invalid, "specversion")
	w.fails(binary(typeJSON, data, "ce-id", "", "ce-type", ""), 422, invalid, "id", "type")
	w.fails(binary(typeJSON, data, "ce-time", "x"), 422, invalid, "time")
	w.fails(binary(typeJSON, data, "ce-source", "%25zz"), 422, invalid, "source")
	w.fails(binary(typeJSON, ofSize(event.MaxEventSize+1)), 413, tooLarge, "event")
	w.fails(binary(typeJSON, data, "ce-id", "%ff"), 422, invalid, "id")
}

func FuzzCloudEvent(f *testing.F) {
	f.Add(`{"specversion":"1.0","id":"e","source":"s","type":"dompet","data":{"receiver_id":66}}`)
	f.Add(`{"data_base64":7,"specversion":"1.0","id":"e","source":"s","type":"dompet"}`)
	f.Add(`{"specversion":"1.0","id":"e","source":"s","type":".","x":[{}],"":1,"data":null}`)
	p := &eventParser{fakePublisher{}}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, read := range []func() (*event.Event, error){
			func() (*event.Event, error) { return p.parseCloud([]byte(raw)) },
			func() (*event.Event, error) {
				return p.parseBinary(http.Header{"Ce-Id": {raw}, "Ce-Source": {raw}, "Ce-Type": {raw}, "Ce-Specversion": {"1.0"}, "Ce-Time": {raw}}, []byte(raw))
			},
		} {
			if e, err := read(); err == nil && e == nil {
				t.Errorf("%q is neither an event nor an error", raw)
			} else if err != nil && failureOf(err).code == internal {
				t.Errorf("%q: %v", raw, err)
			}
		}
	})
}
