package jsonscan

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzScan checks that scanning agrees with the standard decoder for every valid value.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"a":1,"b":[1,2,{"c":"}\\\"]"}],"d":{"e":null}}`, ` { "a" : [ ] , "b" : true } `, `[1,[2,[3]]]`, `"x"`, `-1.5e3`, `{"":{}}`, `{"`, `{"a`, `{"a":`, `{"a":"b`, `{"a" 1}`, `[1`, `[}`, `[,`, `{]`, `{}x`, `["\\`, `{"a":[{"b":"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !jsontext.Value(raw).IsValid() { // scanning must end without a panic
			_ = EachMember(raw, func(Member) {})
			Digest(raw)
			AppendCompact(nil, raw)
			return
		}
		if Digest(raw) != Digest(AppendCompact(nil, raw)) {
			t.Errorf("%q: white space changes the digest", raw)
		}
		var want, compact any
		if json.Unmarshal(raw, &want) != nil || json.Unmarshal(AppendCompact(nil, raw), &compact) != nil || !reflect.DeepEqual(want, compact) {
			t.Errorf("%q: compact %q", raw, AppendCompact(nil, raw))
		}
		if object, ok := want.(map[string]any); ok {
			n := 0
			err := EachMember(raw, func(m Member) {
				n++
				var value any
				if err := json.Unmarshal(m.Value, &value); err != nil || !reflect.DeepEqual(object[string(m.Name())], value) {
					t.Errorf("%q: member %q is %q, %v", raw, m.Name(), m.Value, err)
				}
			})
			if err != nil || n != len(object) {
				t.Errorf("%q: %d members, %v", raw, n, err)
			}
		} else if err := EachMember(raw, func(Member) {}); err == nil {
			t.Errorf("%q is taken for an object", raw)
		}
	})
}
