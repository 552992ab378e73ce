package api

import (
	"strings"
	"testing"
)

// A service takes its own events back, and no others.
func TestRetractEvent(t *testing.T) {
	w := newWorld(t, nil)
	const sent = `{"id":"e","type":"discount","receiver_ids":[66,67],"message":"m"}`
	w.must(w.publish(sent), 202)
	const path = "/v2/events/e.json"
	w.fails(w.bearer(shop2, "DELETE", path, ""), 404, notFound)
	w.fails(w.bearer(directory, "DELETE", path, ""), 403, forbidden, "scope")
	w.fails(w.bearer(shop, "DELETE", path+"?source=elsewhere", ""), 404, notFound)
	if list := w.must(w.get("/v2/notifications/list.json"), 200).envelope(t).Data; len(list) != 1 {
		t.Fatalf("%+v", list)
	}
	for range 2 {
		if a := w.must(w.bearer(shop, "DELETE", path, ""), 200); a.body != `{"status":"OK","id":"e","message":null}` {
			t.Error(a.body)
		}
		if list := w.must(w.get("/v2/notifications/list.json"), 200).envelope(t).Data; len(list) != 0 {
			t.Errorf("%+v", list)
		}
		if n := w.must(w.get("/v2/notifications/unreads.json"), 200).body; !strings.Contains(n, `"unread_notifications":0`) {
			t.Error(n)
		}
		if a := w.must(w.bearer(shop, "GET", path, ""), 200); strings.Count(a.body, `"push":"retracted"`) != 2 {
			t.Error(a.body)
		}
		if e := w.must(w.publish(sent), 202).envelope(t); !*e.Duplicate {
			t.Error("the repeat is no duplicate")
		}
	}
}

// A service sees that an event is scheduled, and may take it back until then.
func TestScheduledEvents(t *testing.T) {
	w := newWorld(t, nil)
	w.at("2016-01-11T13:08:30+07:00")
	w.fails(w.publish(`{"id":"e","type":"discount","receiver_id":66,"message":"m","options":{"at":"2016-02-11T13:08:30+07:00"}}`), 422, invalid, "options.at")
	w.must(w.publish(`{"id":"e","type":"discount","receiver_id":66,"message":"m","options":{"at":"2016-02-01T00:00:00+07:00"}}`), 202)
	const path = "/v2/events/e.json"
	a := w.must(w.bearer(shop, "GET", path, ""), 200)
	if !strings.Contains(a.body, `"notification_id":null,"stored_at":null,"live":false,"push":"scheduled","at":"2016-02-01T00:00:00.000+07:00"`) {
		t.Error(a.body)
	}
	if list := w.must(w.get("/v2/notifications/list.json"), 200).envelope(t).Data; len(list) != 0 {
		t.Errorf("%+v", list)
	}
	w.must(w.bearer(shop, "DELETE", path, ""), 200)
	if a := w.must(w.bearer(shop, "GET", path, ""), 200); !strings.Contains(a.body, `"push":"retracted"`) || strings.Contains(a.body, `"at"`) {
		t.Error(a.body)
	}
}
