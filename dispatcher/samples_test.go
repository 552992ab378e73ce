package dispatcher

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The samples in testdata are the "Android Notifications Data Samples" of the marketplace's
// v2 API documents, with their errors corrected: missing commas are added, one misspelt key
// is fixed, and the `data` wrapper is removed. That of a message, which services cannot
// publish, is in chat_test.go.

// The samples are published as they are, with a receiver where a sample has none. The push
// must have the same members as the sample, with the same values and in the same order, and
// beside them notification_id alone. The values that Kabar fills in are taken from the
// sample first.
func TestSamplesArePushedAsDocumented(t *testing.T) {
	files, err := filepath.Glob("testdata/samples/*.json")
	if err != nil || len(files) != 12 {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	parser := event.NewParser(event.Options{Types: event.NewTypes(), Texts: text.Default(), Locale: text.Indonesian, Now: time.Now})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var sample map[string]any
			if err := json.Unmarshal(raw, &sample); err != nil {
				t.Fatal(err)
			}
			id, numbers := sampleNumbers(t, sample)
			want := maps.Clone(sample)
			if sample["receiver_id"] == nil {
				sample["receiver_id"] = 66
			}
			delete(sample, "id") // it is the id of the notification, which Kabar makes; it must not become the event's
			published, err := json.Marshal(map[string]any{"data": sample})
			if err != nil {
				t.Fatal(err)
			}
			e, err := parser.Parse(published)
			if err != nil {
				t.Fatal(err)
			}
			if len(e.Unknown) > 0 {
				t.Errorf("members of the sample are taken for slips: %q", e.Unknown)
			}
			body, err := content.ParseBody(storedBody(e, e.ContentFor(66)))
			if err != nil {
				t.Fatal(err)
			}
			n := content.Notification{ID: id, Receiver: 66, Promo: e.Spec.Promo, Body: body}
			data, err := n.Data(numbers, time.FixedZone("WIB", 7*3600))
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(dataJSON(data), &got); err != nil {
				t.Fatal(err)
			}
			stored := any(id) // what is kept in no list has no id of its own
			if e.Type == "reminder" {
				stored = nil
			}
			if got["notification_id"] != stored {
				t.Errorf("notification_id %v, want %v", got["notification_id"], stored)
			}
			delete(got, "notification_id") // the one member beside the documented ones
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("a phone gets something else (-documented +pushed):\n%s", diff)
			}
			pushed := slices.DeleteFunc(members(t, dataJSON(data)), func(m string) bool { return m == "notification_id" })
			if diff := cmp.Diff(members(t, raw), pushed); diff != "" {
				t.Errorf("order of members:\n%s", diff)
			}
		})
	}
}

// sampleNumbers returns the notification's id and the receiver's unread numbers in a
// sample.
func sampleNumbers(t *testing.T, sample map[string]any) (string, model.Unreads) {
	t.Helper()
	id, _ := sample["id"].(string)
	if id == "" {
		id = model.NewID(time.Now())
	} else if at, ok := sample["created_at"].(string); ok {
		// The documented id has a resolution of a second only, Kabar's ids one of a
		// microsecond.
		created, err := time.Parse(content.TimeLayout, at)
		if err != nil {
			t.Fatal(err)
		}
		id = model.NewID(created)
		sample["id"] = id
	}
	var n model.Unreads
	details, _ := sample["details"].(map[string]any)
	items, _ := details["unread_items"].(map[string]any)
	number := func(m map[string]any, name string) int { f, _ := m[name].(float64); return int(f) }
	n.Messages = number(items, "messages")
	n.Notifications = number(items, "unread_notifications")
	n.SellerTransactions = number(items, "transactions_need_action_as_seller")
	n.BuyerTransactions = number(items, "transactions_need_action_as_buyer")
	n.SellerOffers = number(items, "offers_need_action_as_seller")
	n.BuyerOffers = number(items, "offers_need_action_as_buyer")
	if sample["type"] == "reminder" {
		n.Notifications = number(sample, "unread_notifications")
	}
	return id, n
}

// members returns the names of an object's members in order.
func members(t *testing.T, object []byte) []string {
	t.Helper()
	var names []string
	if err := jsonscan.EachMember(object, func(m jsonscan.Member) { names = append(names, string(m.Name())) }); err != nil {
		t.Fatal(err)
	}
	return names
}

// The documented transaction and offer are counted according to their state and the
// receiver's role. The states that end them remove them from the counters.
func TestSamplesEnterTheirCounters(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		raw, err := os.ReadFile("testdata/samples/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	transaction, offer := read("transaction"), read("nego")
	asBuyer := strings.NewReplacer(`"receiver_id": 66`, `"receiver_id": 52357`, `"receiver_id": 66,`, `"receiver_id": 52357,`)
	later := func(s, state, minute string) string {
		s = strings.Replace(s, `"state": "paid"`, `"state": "`+state+`"`, 1)
		s = strings.Replace(s, `"state": "waiting"`, `"state": "`+state+`"`, 1)
		return strings.Replace(s, "2014-01-23T13:48:51", "2014-01-23T14:"+minute+":00", 1)
	}
	type want struct {
		user int64
		of   model.Unreads
	}
	for name, c := range map[string]struct {
		events []string
		want   want
	}{
		"a paid order asks the seller": {[]string{transaction}, want{66, model.Unreads{SellerTransactions: 1}}},
		"and is news to the buyer":     {[]string{asBuyer.Replace(transaction)}, want{52357, model.Unreads{TransactionNews: 1}}},
		"the seller has delivered":     {[]string{transaction, later(transaction, "delivered", "10")}, want{66, model.Unreads{}}},
		"the buyer is to receive":      {[]string{asBuyer.Replace(later(transaction, "delivered", "10"))}, want{52357, model.Unreads{BuyerTransactions: 1}}},
		"an older state comes late":    {[]string{later(transaction, "remitted", "10"), transaction}, want{66, model.Unreads{}}},
		"an offer asks the seller":     {[]string{offer}, want{66, model.Unreads{SellerOffers: 1}}},
		"a rejected one asks nobody":   {[]string{offer, later(offer, "rejected", "10")}, want{66, model.Unreads{}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, e := range c.events {
				w.publish(e)
			}
			got, err := w.opts.Inbox.Counters.Unreads(t.Context(), c.want.user)
			if err != nil {
				t.Fatal(err)
			}
			got.Notifications = 0
			if diff := cmp.Diff(c.want.of, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDeliveriesSayWhatTheyReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(66, devices.Android, "A")
	w.run()
	for _, c := range []struct{ event, tag, thread string }{
		{`{"type":"transaction","receiver_id":66,"message":"m","details":{"id":52001}}`, "transaction:52001", "transaction:52001"},
		{`{"type":"nego","receiver_id":66,"message":"m","details":{"id":"7"}}`, "nego:7", "nego:7"},
		{`{"type":"discount","receiver_id":66,"message":"m"}`, "", "discount"},
	} {
		w.publish(c.event)
		w.settled()
		sent := w.android.wait(t, "push", count(1))
		d := sent[len(sent)-1]
		if c.tag == "" {
			c.tag = strings.Trim(string(d.Data[0].Value), `"`) // the notification's own id
		}
		if d.Tag != c.tag || d.Thread != c.thread {
			t.Errorf("%s: tag %q, thread %q", c.event, d.Tag, d.Thread)
		}
	}
}
