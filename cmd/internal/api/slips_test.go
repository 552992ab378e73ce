package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// slip is an event with a misspelt member, which is not required, and a misspelt option.
const slip = `{"id":"e","type":"dompet","receiver_id":66,"message":"m","tittle":"T","options":{"tll":"1h"},"details":{"anything":1}}`

const slipWarnings = `"warnings":{"tittle":"is not a member of an event, and was ignored","options.tll":"is not a member of an event, and was ignored"}`

// Unknown members of events are accepted with warnings, in every form in which events are
// sent, and counted.
func TestSlipsAreReported(t *testing.T) {
	const answer = `{"status":"OK","id":"e","duplicate":false,` + slipWarnings + `,"message":null}`
	cloud := `{"specversion":"1.0","id":"e","source":"s","type":"dompet","partitionkey":"p","data":` +
		`{"receiver_id":66,"message":"m","tittle":"T","options":{"tll":"1h"}}}`
	for name, c := range map[string]struct {
		media, body, want string
		header            map[string]string
	}{
		"one":                 {media: typeJSON, body: slip, want: answer},
		"several":             {media: typeJSON, body: "[" + slip + "]", want: `{"status":"OK","results":[` + answer + `]}`},
		"lines":               {media: typeNDJSON, body: slip, want: `{"status":"OK","results":[` + answer + `]}`},
		"a CloudEvent":        {media: typeCloudEvent, body: cloud, want: answer},
		"several CloudEvents": {media: typeCloudEvents, body: "[" + cloud + "]", want: `{"status":"OK","results":[` + answer + `]}`},
		"a binary CloudEvent": {
			media: typeJSON, body: `{"receiver_id":66,"message":"m","tittle":"T","options":{"tll":"1h"}}`, want: answer,
			header: map[string]string{"ce-specversion": "1.0", "ce-id": "e", "ce-source": "s", "ce-type": "dompet", "ce-partitionkey": "p"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			got := w.do(call{method: "POST", path: eventsPath, auth: "Bearer " + shop, media: c.media, header: c.header, body: c.body})
			if got.body != c.want {
				t.Errorf("answered %d %s\nwant %s", got.status, got.body, c.want)
			}
			w.counts(`kabar_events_with_unknown_members_total{result="accepted",service="shop"} 1`)
			if unread := w.must(w.get(unreadsPath), 200); !strings.Contains(unread.body, `"unread_notifications":1,`) {
				t.Errorf("counted %s", unread.body)
			}
		})
	}
}

// A service that is strict has such events refused, and no others.
func TestSlipsOfAStrictService(t *testing.T) {
	w := newWorld(t, nil)
	w.fails(w.bearer(strict, "POST", eventsPath, slip), 422, invalid, "tittle", "options.tll")
	results := w.must(w.bearer(strict, "POST", eventsPath, "["+slip+","+oneEvent+"]"), 200).envelope(t).Results
	if results[0].Code != invalid || len(results[0].Errors) != 2 || results[1].Status != "OK" {
		t.Errorf("%+v", results)
	}
	w.must(w.bearer(strict, "POST", eventsPath, `{"receiver_id":66,"id":5,"state":"processed","amount":25000,"bank_account_id":1,"deposit_id":1,"processed_at":null}`), 202)
	w.counts(`kabar_events_with_unknown_members_total{result="refused",service="strict"} 2`)
}

// counts checks a line of the metrics that events with unknown members have.
func (w *world) counts(line string) {
	w.t.Helper()
	const name = "kabar_events_with_unknown_members_total"
	expected := fmt.Sprintf("# HELP %s Events with members that Kabar does not know, such as misspelt ones.\n# TYPE %[1]s counter\n%s\n", name, line)
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(expected), name); err != nil {
		w.t.Error(err)
	}
}

// JSON is read in time that grows with its length, because it is nested to a limit. The
// limit is the same wherever JSON is accepted.
func TestDeepJSONIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	of := func(levels int) string {
		return `{"type":"dompet","receiver_id":66,"message":"m","details":` + nested(levels-1) + `}`
	}
	w.must(w.publish(of(jsonscan.MaxDepth)), 202)
	w.fails(w.publish(of(jsonscan.MaxDepth+1)), 422, invalid, "event")
	w.fails(w.structured(shop, `{"specversion":"1.0","id":"e","source":"s","type":"dompet","data":`+of(jsonscan.MaxDepth+1)+`}`), 422, invalid, "event")
	twenty := "[" + strings.Repeat(of(9000)+",", 19) + of(9000) + "]"
	for i, r := range w.must(w.publish(twenty), 200).envelope(t).Results {
		if r.Code != invalid || r.Errors["event"] == "" {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	w.fails(w.bearer(directory, "PUT", "/v2/users/66.json", `{"x":`+nested(jsonscan.MaxDepth)+`}`), 422, invalid, "body")
}

// Numbers keep every digit on their way to the inbox, and those that a phone would read as
// infinite are refused.
func TestLargeNumbers(t *testing.T) {
	w := newWorld(t, nil)
	const digits = "123456789012345678901234567890"
	w.must(w.publish(`{"type":"dompet","receiver_id":66,"message":"m","details":{"n":`+digits+`}}`), 202)
	w.must(w.structured(shop, `{"specversion":"1.0","id":"e","source":"s","type":"dompet","data":{"receiver_id":66,"message":"m","details":{"n":-`+digits+`}}}`), 202)
	list := w.must(w.get("/v2/notifications/list.json?type=dompet"), 200).body
	for _, want := range []string{`"n":` + digits, `"n":-` + digits} {
		if !strings.Contains(list, want) {
			t.Errorf("%s\nlacks %s", list, want)
		}
	}
	w.fails(w.publish(`{"type":"dompet","receiver_id":66,"message":"m","details":{"n":1e309}}`), 422, invalid, "event")
	w.fails(w.publish(`{"type":"dompet","receiver_id":66,"message":"m","details":{"n":[-1`+strings.Repeat("0", 309)+`]}}`), 422, invalid, "event")
}

// Users send messages; a service is told how.
func TestMessagesOfServicesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	e := w.fails(w.publish(`{"type":"message","receiver_id":66,"message":"m","details":{"inbox_id":"56be34","sender_id":15}}`), 422, invalid, "type")
	if !strings.Contains(e.Errors["type"], "POST /v2/messages.json") {
		t.Errorf("the error does not say what to do: %s", e.Errors["type"])
	}
}
