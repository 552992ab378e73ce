package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/event"
)

// wire has the members of an event that the tests check.
type wire struct {
	ID         string
	Type       string
	ReceiverID int64 `json:"receiver_id"`
	Details    struct {
		ID          int64
		Transaction struct {
			ID     int64
			State  string
			Seller struct{ ID int64 }
			Buyer  struct{ ID int64 }
		}
	}
	Options struct{ Push bool }
}

func TestEvent(t *testing.T) {
	for _, push := range []bool{true, false} {
		text := transactionEvent(123, 66, push)
		var e wire
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		tr := e.Details.Transaction
		if e.ID != "trx-123-paid" || e.Type != "transaction" || e.ReceiverID != 66 || e.Options.Push != push ||
			e.Details.ID != 123 || tr.ID != 123 || tr.State != "paid" || tr.Seller.ID != 66 || tr.Buyer.ID == 66 {
			t.Errorf("push %t: %s", push, text)
		}
		if len(text) < 900 || len(text) > 1600 {
			t.Errorf("the event has %d bytes, which is not about 1 KB", len(text))
		}
		if strings.Contains(text, sampleNumber) || strings.Contains(text, sampleReceiver) {
			t.Errorf("it still holds the sample's numbers: %s", text)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct{ n, batch, requests int }{
		{1, 1, 1}, {5, 1, 5}, {5, 2, 3}, {4, 2, 2}, {3, 100, 1},
	} {
		all := requests(1000, everyone(c.n), c.batch, true)
		if len(all) != c.requests {
			t.Errorf("%+v: %d requests", c, len(all))
		}
		place := 0
		for _, r := range all {
			var list []wire
			text := string(r.body)
			if c.batch == 1 {
				text = "[" + text + "]"
			}
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			if r.first != place || r.count != len(list) {
				t.Errorf("%+v: a request says %d events from %d, and has %d from %d", c, r.count, r.first, len(list), place)
			}
			for _, e := range list {
				if e.Details.ID != int64(1000+place) || e.ReceiverID != int64(place+1) {
					t.Errorf("%+v: event %d at place %d goes to %d", c, e.Details.ID, place, e.ReceiverID)
				}
				place++
			}
		}
		if place != c.n {
			t.Errorf("%+v: %d events", c, place)
		}
	}
}

func TestTokens(t *testing.T) {
	for p, platform := range map[provider]devices.Platform{apns: devices.IOS, fcm: devices.Android} {
		seen := make(map[string]bool)
		for user := int64(1); user <= 100; user++ {
			token := p.token(user)
			if err := devices.ValidToken(platform, token); err != nil || seen[token] {
				t.Errorf("%s: user %d has %q: %v", p, user, token, err)
			}
			seen[token] = true
		}
	}
}

// The number of an event is read from the tag that the gateway derives from its resource.
func TestNumber(t *testing.T) {
	for tag, want := range map[string]int64{
		"transaction:42": 42, "transaction:": 0, "transaction:x": 0, "nego:42": 0, "reminder": 0, "": 0,
	} {
		r := Receipt{Tag: tag}
		if got := r.number(); got != want {
			t.Errorf("%q is event %d, want %d", tag, got, want)
		}
	}
}

func TestGoalsCoverEveryCase(t *testing.T) {
	for _, p := range []provider{apns, fcm} {
		for _, batch := range batches {
			if goals[p][batch] == 0 {
				t.Errorf("no goal for %s with %d events a request", p, batch)
			}
			if batch > event.MaxReceivers {
				t.Errorf("%d events are too many for a request", batch)
			}
		}
	}
}

var begin = time.Unix(1_700_000_000, 0)
