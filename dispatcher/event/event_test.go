package event

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

type jsonValue = jsontext.Value

var testTexts = text.Default()

func testParser() *Parser {
	return NewParser(Options{
		Types: NewTypes(Type{Name: "voucher", Lane: push.Bulk, Message: "Ada voucher"}),
		Texts: testTexts, Locale: text.Indonesian,
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	with := func(field, value string) string {
		return fmt.Sprintf(`{"type":"discount","receiver_id":66,"message":"m",%q:%s}`, field, value)
	}
	long := func(n int) string { return `"` + strings.Repeat("é", n) + `"` }
	for _, c := range []struct {
		raw  string
		want map[string]string
	}{
		{`{`, map[string]string{"event": "is not valid JSON at byte 1"}},
		{`[]`, map[string]string{"event": "must be a JSON object"}},
		{`{"type":"discount","receiver_ids":7,"message":"m"}`, map[string]string{"receiver_ids": "must be an array"}},
		{`{}`, map[string]string{"type": "is required", "receiver_id": "is required"}},
		{`{"type":"discount","receiver_id":66}`, map[string]string{"message": "is required"}},
		{with("id", `{}`), map[string]string{"id": "must be a string"}},
		{with("id", `""`), map[string]string{"id": "must have 1 to 128 bytes"}},
		{with("id", `"a b"`), map[string]string{"id": "must be printable, without spaces"}},
		{`{"type":"nonsense","receiver_id":66,"message":"m"}`, map[string]string{"type": "is not a known event type"}},
		{`{"type":"message","receiver_id":66,"message":"m"}`, map[string]string{"type": "must not be message: it is the sender who sends one, with POST /v2/messages.json; publish another type, such as announcement"}},
		{with("details", `{"a":[1e400]}`), map[string]string{"event": "has a number at byte 66 that is too large"}},
		{with("details", strings.Repeat(`[`, 64)+strings.Repeat(`]`, 64)), map[string]string{"event": "is nested deeper than 64 levels at byte 123"}},
		{`{"type":"discount","reciever_id":66,"message":"m","options":{"puhs":false}}`, map[string]string{"receiver_id": "is required", "reciever_id": notAMember, "options.puhs": notAMember}},
		{`{"type":7,"receiver_id":66,"message":"m"}`, map[string]string{"type": "must be a string"}},
		{`{"type":"discount","receiver_id":"066","message":"m"}`, map[string]string{"receiver_id": "must be a user id: a positive whole number without leading zeros"}},
		{`{"type":"discount","receiver_id":-1,"message":"m"}`, map[string]string{"receiver_id": "must be a user id: a positive whole number without leading zeros"}},
		{`{"type":"discount","receiver_id":1e3,"message":"m"}`, map[string]string{"receiver_id": "must be a user id: a positive whole number without leading zeros"}},
		{`{"type":"discount","receiver_ids":[1,"x"],"message":"m"}`, map[string]string{"receiver_ids[1]": "must be a user id: a positive whole number without leading zeros"}},
		{`{"type":"discount","receiver_ids":[],"message":"m"}`, map[string]string{"receiver_ids": "must name 1 to 1000 users"}},
		{with("receiver_ids", `[1]`), map[string]string{"receiver_ids": "cannot be given beside receiver_id"}},
		{with("time", `"yesterday"`), map[string]string{"time": "must be a time as in RFC 3339, such as 2014-01-23T13:48:51+07:00"}},
		{with("time", `"2030-01-01T00:00:00Z"`), map[string]string{"time": "lies more than a day ahead"}},
		{with("title", `7`), map[string]string{"title": "must be a string"}},
		{with("title", long(201)), map[string]string{"title": "must have at most 200 characters"}},
		{with("title", `"a\u0000b"`), map[string]string{"title": "must not contain control characters"}},
		{with("details", `"text"`), map[string]string{"details": "must be a JSON object"}},
		{with("options", `{"ttl":"29d"}`), map[string]string{"options.ttl": `must be a duration from "1s" to "28d"`}},
		{with("options", `{"ttl":"forever"}`), map[string]string{"options.ttl": `must be a duration from "1s" to "28d"`}},
		{with("options", `{"ttl":-5}`), map[string]string{"options.ttl": `must be a duration from "1s" to "28d"`}},
		{`{"type":"cart","receiver_id":66}`, map[string]string{"details.cart_items": "must be a whole number, 0 or more"}},
		{`{"type":"transaction","receiver_id":66,"message":"m","details":{"transaction":{"state":"payed"}}}`, map[string]string{"details.transaction.state": "is not a known state"}},
		{`{"type":"nego","receiver_id":66,"message":"m","details":{"state":"paid"}}`, map[string]string{"details.state": "is not a known state"}},
		{`{"type":"discount","receiver_id":66,"message":` + long(1001) + `}`, map[string]string{"message": "must have at most 1000 characters"}},
		{`{"type":"discount","receiver_id":66,"message":"` + strings.Repeat("x", MaxEventSize) + `"}`, map[string]string{"event": "is larger than 65536 bytes"}},
	} {
		p := testParser()
		_, err := p.Parse([]byte(c.raw))
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%.100s: error %v", c.raw, err)
			continue
		}
		if diff := cmp.Diff(c.want, invalid.Fields); diff != "" {
			t.Errorf("%.100s:\n%s", c.raw, diff)
		}
	}
}

func TestParseIsLenientWhereTheContractSays(t *testing.T) {
	p := testParser()
	for _, raw := range []string{
		`{"type":"discount","receiver_id":"66","message":"m","unknown":[1]}`,
		`{"type":"discount","receiver_ids":["66",67,66],"message":"m","id":7}`,
		`{"type":"voucher","receiver_id":66}`,
		`{"type":"cart","receiver_id":66,"details":{"cart_items":"4"}}`,
		`{"type":"discount","receiver_id":66,"message":"m","options":{"ttl":3600,"push":false},"title":null,"details":null}`,
		"{\"type\":\"discount\",\n\"receiver_id\":66, \"message\":\"m\\nn\", \"details\": { \"a\" : [ 1, 2 ] } }",
	} {
		if _, err := p.Parse([]byte(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// Members around the wrapper apply where the event inside does not have them.
func TestMembersAroundTheWrapper(t *testing.T) {
	p := testParser()
	const inner = `"type":"discount","message":"m"`
	for name, c := range map[string]struct{ wrapped, plain string }{
		"around": {
			`{"id":"x","receiver_id":66,"time":"2026-01-01T00:00:00Z","title":"T","options":{"push":false},"details":{"a":1},"data":{` + inner + `}}`,
			`{"id":"x","receiver_id":66,"time":"2026-01-01T00:00:00Z","title":"T","options":{"push":false},"details":{"a":1},` + inner + `}`,
		},
		"both": {
			`{"id":"x","receiver_id":66,"message":"n","data":{"id":"y","receiver_ids":[67],` + inner + `}}`,
			`{"id":"y","receiver_ids":[67],` + inner + `}`,
		},
		"presentation around": {
			`{"id":"x","receiver_id":66,"image":"https://a","link":"https://b","sound":"c","data":{"sound":"d",` + inner + `}}`,
			`{"id":"x","receiver_id":66,"image":"https://a","link":"https://b","sound":"d",` + inner + `}`,
		},
		"nothing inside": {
			`{"id":"x","receiver_ids":[66,67],"data":{"id":null,"receiver_id":null,` + inner + `}}`,
			`{"id":"x","receiver_ids":[66,67],` + inner + `}`,
		},
		"a resource": {
			`{"id":"x","time":"2026-01-01T00:00:00Z","receiver_id":15,"data":{"negotiation":` + rawOffer + `}}`,
			`{"id":"x","time":"2026-01-01T00:00:00Z","receiver_id":15,"negotiation":` + rawOffer + `}`,
		},
		"a resource's own id": {
			`{"id":"x","receiver_id":66,"data":` + rawMutation + `}`,
			`{"id":"x","receiver_id":66,"mutation":` + rawMutation + `}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := p.Parse([]byte(c.wrapped))
			if err != nil {
				t.Fatal(err)
			}
			want, err := p.Parse([]byte(c.plain))
			if err != nil {
				t.Fatal(err)
			}
			type event struct {
				ID, Content string
				Receivers   []int64
			}
			if diff := cmp.Diff(event{want.ID, want.Digest, want.Receivers}, event{got.ID, got.Digest, got.Receivers}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A repeat is recognised if only the order of members or the spacing differs. Any other
// difference makes it different content.
func TestContentDigest(t *testing.T) {
	p := testParser()
	digest := func(raw string) string {
		t.Helper()
		e, err := p.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return e.Digest
	}
	const event = `{"id":"a","type":"discount","receiver_id":66,"message":"m","details":{"a":{"x":1,"y":[1,2]},"b":2}}`
	same := []string{
		`{"message":"m","type":"discount","receiver_ids":[67],"details":{ "b":2, "a":{"y":[1, 2],"x":1}}, "id":"other"}`,
	}
	others := []string{
		strings.Replace(event, `"m"`, `"n"`, 1),
		strings.Replace(event, `[1,2]`, `[2,1]`, 1),
		strings.Replace(event, `"message"`, `"title":"t","message"`, 1),
		strings.Replace(event, `"message"`, `"options":{"push":false},"message"`, 1),
		strings.Replace(event, `discount`, `campaign`, 1),
		strings.Replace(event, `"message"`, `"image":"https://a","message"`, 1),
		strings.Replace(event, `"message"`, `"link":"https://a","message"`, 1),
		strings.Replace(event, `"message"`, `"sound":"a","message"`, 1),
		strings.Replace(event, `"x":1`, `"x":9007199254740993`, 1),
	}
	for _, raw := range same {
		if digest(raw) != digest(event) {
			t.Errorf("the same event has another digest: %s", raw)
		}
	}
	seen := map[string]string{digest(event): event}
	for _, raw := range others {
		if first, ok := seen[digest(raw)]; ok {
			t.Errorf("%s\nhas the digest of\n%s", raw, first)
		}
		seen[digest(raw)] = raw
	}
	big := digest(strings.Replace(event, `"x":1`, `"x":9007199254740992`, 1))
	if first, ok := seen[big]; ok {
		t.Errorf("a number beyond 2^53 has the digest of %s", first)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"transaction","receiver_id":66,"message":"m","details":{"id":1,"transaction":{"state":"paid","seller":{"id":66}}}}`))
	f.Add([]byte(`{"type":"reminder","receiver_id":"66","unread_notifications":1,"messages":2,"x":1,"options":{"ttl":"1h","tll":1}}`))
	f.Add([]byte(`{"data":{"type":"discount","receiver_ids":[1,"2"],"message":"m"}}`))
	f.Add([]byte(`{"type":"discount","receiver_id":66,"message":"m","image":"https://a","link":"https://b","sound":"none","options":{"android":{"x":1},"apns":{"relevance_score":1}}}`))
	f.Add([]byte(`{"transaction":` + rawTransaction + `}`))
	f.Add([]byte(`{"negotiation":[` + rawOffer + `],"receiver_id":15}`))
	f.Add([]byte(`{"product":` + rawProduct + `,"message":"m"}`))
	f.Add([]byte(`{"receiver_id":66,"withdrawal":` + rawWithdrawal + `}`))
	f.Add([]byte(`{"receiver_id":66,` + rawMutation[1:]))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := testParser()
		e, err := p.Parse(raw)
		if err != nil {
			if bad := (*InvalidError)(nil); !errors.As(err, &bad) || len(bad.Fields) == 0 {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if len(e.Receivers) == 0 || e.ID == "" || e.Type == "message" || len(e.Unknown) > maxUnknown {
			t.Errorf("%q became the event %+v", raw, e)
		}
		if again, err := p.Parse(jsonscan.AppendCompact(nil, raw)); err != nil || again.Digest != e.Digest {
			t.Errorf("%q: without spaces %v", raw, err)
		}
		for _, receiver := range e.Receivers {
			if c := e.ContentFor(receiver); c.Level != Counted && !jsonValue(c.Details).IsValid() {
				t.Errorf("details %s", c.Details)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := []byte(`{"id":"trx-52001-paid","type":"transaction","receiver_id":66,"message":"Transaksi baru dari Liem Lie Wie","details":{"id":52001,"transaction":{"id":52001,"state":"paid","updated_at":"2014-01-23T13:48:51+07:00","quick_trans":false,"transaction_id":"140123102001","amount":25000,"products":[{"id":"3fbd9","name":"Bantal bibir pink Impor","price":70000}],"consignee":{"name":"Liem Lie Wie","address":"Roxy Square Building lantai LG blok B2 no.8\r\nJalan Kyai Tapa no.1 (seberang KFC)"},"buyer":{"id":52357,"name":"Liem Lie Wie"},"seller":{"id":66,"name":"Testing Account"},"actions":["deliver","reject"]}}}`)
	p := testParser()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
