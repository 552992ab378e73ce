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
