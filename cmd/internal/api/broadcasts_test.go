package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
)

// broadcastRead is an answer about a broadcast, as a client decodes it.
type broadcastRead struct {
	Broadcast struct {
		ID, Type, State string
		FinishedAt      *string `json:"finished_at"`
		Progress        struct {
			Total, Walked, Sent, Skipped int
			SecondsLeft                  *int `json:"seconds_left"`
			Pushes                       struct {
				Accepted int
				Failed   []struct {
					Reason string
					Count  int
				}
			}
		}
	}
}

func (w *world) broadcast(id string) broadcastRead {
	w.t.Helper()
	var b broadcastRead
	a := w.must(w.bearer(marketing, "GET", "/v2/broadcasts/"+id+".json", ""), 200)
	check(w.t, json.Unmarshal([]byte(a.body), &b))
	return b
}

func (w *world) start(body string) answer {
	w.t.Helper()
	return w.bearer(marketing, "POST", "/v2/broadcasts.json", body)
}

func (w *world) steer(id, state string) answer {
	w.t.Helper()
	return w.bearer(marketing, "PATCH", "/v2/broadcasts/"+id+".json", fmt.Sprintf(`{"state":%q}`, state))
}

// A broadcast reaches the phones and the inbox, and its progress can be read all along.
func TestBroadcast(t *testing.T) {
	senders, types := accepting()
	w := newWorld(t, senders)
	w.must(w.basic(ani, "POST", "/v2/notifications/android.json", "reg_id=A66"), 200)
	w.run()
	if got := <-types; got != "reminder" {
		t.Fatalf("a new device got %s", got)
	}
	w.must(w.start(`{"audience":"all","id":"promo","type":"campaign","title":"Promo","message":"Diskon"}`), 202)
	if got := <-types; got != "campaign" {
		t.Errorf("the phone got %s", got)
	}
	tick, late := time.NewTicker(10*time.Millisecond), time.After(waitTimeout)
	defer tick.Stop()
	b := w.broadcast("promo").Broadcast
	for b.State != "done" || b.Progress.Pushes.Accepted != 1 {
		select {
		case <-tick.C:
			b = w.broadcast("promo").Broadcast
		case <-late:
			t.Fatalf("not done after %v: %+v", waitTimeout, b)
		}
	}
	if p := b.Progress; p.Total != 2 || p.Sent != 2 || p.Walked != 2 || p.Skipped != 0 || b.FinishedAt == nil || *p.SecondsLeft != 0 {
		t.Errorf("%+v", b)
	}
	list := w.must(w.get("/v2/notifications/list.json"), 200).envelope(t)
	if len(list.Data) != 1 || list.Data[0].Message != "Diskon" {
		t.Errorf("list %+v", list.Data)
	}
	again := w.must(w.start(`{"audience":"all","message":"Diskon","title":"Promo","type":"campaign","id":"promo"}`), 202).envelope(t)
	if !*again.Duplicate || *again.ID != "promo" {
		t.Errorf("a repeat: %+v", again)
	}
	w.fails(w.start(`{"audience":"all","id":"promo","type":"campaign","message":"Lain"}`), 409, conflict)
	if e := w.fails(w.steer("promo", "paused"), 409, conflict, "state"); !strings.Contains(e.Message, "berakhir") {
		t.Errorf("message %q", e.Message)
	}
}

// A broadcast can be paused, resumed and cancelled, and each request can be repeated.
func TestBroadcastIsSteered(t *testing.T) {
	w := newWorld(t, nil)
	later := time.Now().Add(time.Hour).Format(time.RFC3339)
	w.must(w.start(fmt.Sprintf(`{"audience":"all","id":"x","message":"m","at":%q}`, later)), 202)
	for _, step := range []struct{ to, state string }{
		{"", "scheduled"}, {"running", "scheduled"}, {"paused", "paused"}, {"paused", "paused"},
		{"running", "scheduled"}, {"paused", "paused"}, {"cancelled", "cancelled"}, {"cancelled", "cancelled"},
	} {
		if step.to != "" {
			w.must(w.steer("x", step.to), 200)
		}
		if got := w.broadcast("x").Broadcast.State; got != step.state {
			t.Fatalf("%s: %s, want %s", step.to, got, step.state)
		}
	}
	w.fails(w.steer("x", "running"), 409, conflict, "state")
	w.fails(w.steer("x", "done"), 422, invalid, "state")
	w.fails(w.steer("unknown", "paused"), 404, notFound)
}

func TestBroadcastsAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for body, fields := range map[string][]string{
		`{}`: {"message", "audience"},
		`{"message":"m","type":"nego","audience":"all"}`:                                 {"type"},
		`{"message":"m","audience":{"locale":"id"},"rate":0,"ttl":"1y","at":"tomorrow"}`: {"rate", "ttl", "at"},
		`{"message":"m","audience":{"platfrom":"ios"}}`:                                  {"audience.platfrom"},
		// Slips that would tell everyone.
		`{"message":"m"}`:                        {"audience"},
		`{"message":"m","audience":null}`:        {"audience"},
		`{"message":"m","audience":{}}`:          {"audience"},
		`{"message":"m","audiense":{}}`:          {"audience", "audiense"},
		`{"message":"m","audience":"ALL"}`:       {"audience"},
		`{"message":"m","audience":"all","x":1}`: {"x"},
	} {
		w.fails(w.start(body), 422, invalid, fields...)
	}
	w.fails(w.start(``), 422, invalid, "body")
	w.fails(w.start(`{"message":`), 400, malformed, "broadcast")
	w.fails(w.start(`{"message":"`+strings.Repeat("x", broadcast.MaxSize)+`"}`), 413, tooLarge, "body")
	w.fails(w.do(call{method: "POST", path: "/v2/broadcasts.json", auth: "Bearer " + marketing, media: typeForm, body: "message=m"}), 415, unsupportedMedia, "Content-Type")
	w.fails(w.bearer(directory, "POST", "/v2/broadcasts.json", `{"message":"m"}`), 403, forbidden, "scope")
	w.fails(w.bearer(marketing, "GET", "/v2/broadcasts/unknown.json", ""), 404, notFound)
	// A broadcast of another service is not found.
	w.must(w.start(`{"audience":"all","id":"mine","message":"m"}`), 202)
	w.fails(w.bearer(shop, "GET", "/v2/broadcasts/mine.json", ""), 404, notFound)
}

// A request can hold the longest list of users that is allowed.
func TestBroadcastToALongList(t *testing.T) {
	w := newWorld(t, nil)
	ids := make([]string, broadcast.MaxNamed)
	for i := range ids {
		ids[i] = fmt.Sprint(9_000_000_000_000_000_000 + i)
	}
	later := time.Now().Add(time.Hour).Format(time.RFC3339)
	w.must(w.start(fmt.Sprintf(`{"id":"long","message":"m","at":%q,"audience":{"user_ids":[%s]}}`, later, strings.Join(ids, ","))), 202)
	if total := w.broadcast("long").Broadcast.Progress.Total; total != len(ids) {
		t.Errorf("%d users, want %d", total, len(ids))
	}
	w.must(w.steer("long", "cancelled"), 200)
}
