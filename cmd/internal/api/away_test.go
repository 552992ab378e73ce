package api

import (
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

func TestRedisAway(t *testing.T) {
	t.Parallel()
	server, err := localredis.Start(t.Context(), localredis.Options{Args: []string{"--appendonly", "no"}})
	check(t, err)
	t.Cleanup(func() { _ = server.Close() }) // a no-op when the test has already stopped it
	w := worldOver(t, server.Addr(), nil)
	w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"token":"tok3ntok3n"}`), 200)
	w.must(w.get("/v2/notifications/unreads.json"), 200) // makes these credentials known to be good
	check(t, server.Close())

	event := `{"id":"e","type":"cart","receiver_id":66,"details":{"cart_items":1}}`
	for name, c := range map[string]call{
		"device": {method: "POST", path: "/v2/notifications/android.json", auth: ani, media: typeForm, body: "reg_id=A"},
		"list":   {method: "GET", path: "/v2/notifications/list.json", auth: ani},
		"event":  {method: "POST", path: "/v2/events.json", auth: "Bearer " + shop, media: typeJSON, body: event},
		"status": {method: "GET", path: "/v2/events/e.json", auth: "Bearer " + shop},
		"user":   {method: "PUT", path: "/v2/users/66.json", auth: "Bearer " + shop, media: typeJSON, body: `{"name":"Ani"}`},
	} {
		got := w.do(c)
		w.fails(got, 503, unavailable)
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", name)
		}
	}
	batch := w.must(w.publish("["+event+",{}]"), 200).envelope(t)
	if e := batch.Results[0]; e.Code != unavailable || e.ID == nil || *e.ID != "e" {
		t.Errorf("in a batch: %+v", e)
	}
	if e := batch.Results[1]; e.Code != invalid {
		t.Errorf("in a batch: %+v", e)
	}
	w.must(w.do(call{method: "GET", path: "/openapi.json"}), 200)
}
