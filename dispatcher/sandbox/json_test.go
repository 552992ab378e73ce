package sandbox

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// FuzzMembers compares members with encoding/json for every object.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, `{"a":"b","c":{"d":[1,2,{"e":"}"}]},"f":null}`,
		`{ "a\"" : "\\" , "\u0062" : [ ] }`, `{"a":-1.5e3 ,"b":true}`, `[{"a":1}]`, `"x"`, `1`, `null`,
		"{\n\t\"a\": {\"b\": \"c\"}\r\n}", `{"":""}`, `{"a":[["]"],"["]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		want := make(map[string]json.RawMessage)
		if json.Unmarshal(raw, &want) != nil {
			clear(want) // not an object
		}
		got := make(map[string]json.RawMessage)
		members(raw, func(name, value []byte) bool {
			got[string(bytes.ToValidUTF8(name, []byte("\ufffd")))] = value
			return true
		})
		if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) && isASCII(raw) {
			t.Errorf("members(%q) = %q, want %q", raw, got, want)
		}
	})
}

// isASCII excludes invalid UTF-8, because encoding/json replaces it.
func isASCII(raw []byte) bool {
	return bytes.IndexFunc(raw, func(r rune) bool { return r > 127 }) < 0
}

func TestTextLen(t *testing.T) {
	for _, value := range []string{`""`, `"a"`, `"é€😀"`, `"\"\\\/\b\n"`, `"\u0041\u00e9\u20ac\ud83d\ude00!"`} {
		text, _ := jsonscan.Scalar([]byte(value))
		if got, want := textLen([]byte(value)), len(text); got != want {
			t.Errorf("textLen(%s) = %d, want %d", value, got, want)
		}
	}
}

func TestMembersStops(t *testing.T) {
	calls := 0
	members([]byte(`{"a":1,"b":2}`), func(_, _ []byte) bool {
		calls++
		return false
	})
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
}
