package dispatcher

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// Walking agrees with the standard decoder about every valid value.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"a":1,"b":[1,2,{"c":"}\\\"]"}],"d":{"e":null}}`, ` { "a" : [ ] , "b" : true } `, `[1,[2,[3]]]`, `"x"`, `-1.5e3`, `{"":{}}`, `{"`, `{"a`, `{"a":`, `{"a":"b`, `{"a" 1}`, `[1`, `[}`, `[,`, `{]`, `{}x`, `["\\`, `{"a":[{"b":"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid() { // it ends, and does not panic
			_, _ = readBody(raw)
			digestOf(raw)
			appendCompact(nil, raw)
			return
		}
		if digestOf(raw) != digestOf(appendCompact(nil, raw)) {
			t.Errorf("%q: white space changes the digest", raw)
		}
		var want, compact any
		if json.Unmarshal(raw, &want) != nil || json.Unmarshal(appendCompact(nil, raw), &compact) != nil || !reflect.DeepEqual(want, compact) {
			t.Errorf("%q: compact %q", raw, appendCompact(nil, raw))
		}
		if object, ok := want.(map[string]any); ok {
			n := 0
			err := eachMember(raw, func(m member) {
				n++
				var value any
				if err := json.Unmarshal(m.value, &value); err != nil || !reflect.DeepEqual(object[string(m.name())], value) {
					t.Errorf("%q: member %q is %q, %v", raw, m.name(), m.value, err)
				}
			})
			if err != nil || n != len(object) {
				t.Errorf("%q: %d members, %v", raw, n, err)
			}
		} else if err := eachMember(raw, func(member) {}); err == nil {
			t.Errorf("%q is taken for an object", raw)
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
