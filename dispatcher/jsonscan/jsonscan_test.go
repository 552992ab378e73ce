package jsonscan

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzScan checks that scanning agrees with the standard decoder for every valid value.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"a":1,"b":[1,2,{"c":"}\\\"]"}],"d":{"e":null}}`, ` { "a" : [ ] , "b" : true } `, `[1,[2,[3]]]`, `"x"`, `-1.5e3`, `{"":{}}`, `{"`, `{"a`, `{"a":`, `{"a":"b`, `{"a" 1}`, `[1`, `[}`, `[,`, `{]`, `{}x`, `["\\`, `{"a":[{"b":"`,
		`1e309`, `[-1e308,1E+400]`, `{"1e999":"1e999"}`, strings.Repeat("[", 65) + strings.Repeat("]", 65), `0e999999999`, `1e-999`,
	} {
		f.Add([]byte(seed))
	}
	for _, seed := range []string{
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":{"b":1},"b":{"a":2}}`, `{"\"":1,"\u0022":1}`, `{"a":1,}`, `[1,]`, `[1 2]`, `{"a":1 "b":2}`, `{,}`, `01`, `-`, `1.`, `1e`, `-0.0e-0`, `+1`, `.5`,
		`"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\u0061"`, `"\x"`, `"\u12g4"`, "\"\x01\"", "\"\xff\"", "\"\u00e9\ufffd\"", `tru`, `nulll`, `true false`, `"a`, ``, ` `, members(40, ""), members(40, `,"m7":0`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if valid := jsontext.Value(raw).IsValid() && Bounded(raw) == nil; checked(t, raw) != valid {
			t.Errorf("%q: valid is %v", raw, valid)
		}
		if !jsontext.Value(raw).IsValid() { // scanning must end without a panic
			_ = EachMember(raw, func(Member) {})
			Digest(raw)
			AppendCompact(nil, raw)
			_ = Bounded(raw)
			return
		}
		if err := Bounded(raw); (err != nil) != exceeds(t, raw) {
			t.Errorf("%q: %v", raw, err)
		} else if err != nil {
			return // the standard decoder refuses large numbers, too
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

// checked returns what Check says, and compares the digests of a valid document, its members
// and elements and theirs with those of Digest.
func checked(t *testing.T, raw []byte) bool {
	doc, ok := Check(raw)
	if !ok {
		return false
	}
	var compare func(v jsontext.Value, depth int)
	compare = func(v jsontext.Value, depth int) {
		if got, want := doc.Digest(v), Digest(v); got != want {
			t.Errorf("%q: the digest of %q is %x, want %x", raw, v, got, want)
		}
		if depth == 4 {
			return
		}
		_ = EachMember(v, func(m Member) { compare(m.Value, depth+1) }) // it may be no object
		if v.Kind() == '[' {
			EachElement(v, func(v jsontext.Value) { compare(v, depth+1) })
		}
	}
	compare(raw[skipSpace(raw, 0):], 0)
	for _, other := range []string{`{"a":1}`, `1`} { // that is not within it
		if v := jsontext.Value(other); doc.Digest(v) != Digest(v) {
			t.Errorf("%q has another digest than %s", raw, other)
		}
	}
	return true
}

// members returns an object with n members and more.
func members(n int, more string) string {
	s := `{"m0":0`
	for i := range n - 1 {
		s += `,"m` + strconv.Itoa(i+1) + `":[]`
	}
	return s + more + "}"
}

// exceeds reports whether a valid value is out of bounds, as the decoder sees it.
func exceeds(t *testing.T, raw []byte) bool {
	dec := jsontext.NewDecoder(strings.NewReader(string(raw)))
	for {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if dec.StackDepth() > MaxDepth {
			return true
		}
		if token.Kind() == '0' {
			if _, err := strconv.ParseFloat(token.String(), 64); err != nil {
				return true
			}
		}
	}
}

func TestBounded(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":[`, n/2) + "1" + strings.Repeat(`]}`, n/2) }
	for value, ok := range map[string]bool{
		nested(MaxDepth):                true,
		nested(MaxDepth + 2):            false,
		`"` + nested(1000) + `"`:        true, // not JSON, but it must not be taken for deep in a string
		`[[],[],{"a":{}},"[[[[\\"]`:     true,
		strings.Repeat("[],", 1000):     true,
		`1.7976931348623157e308`:        true,
		`1.7976931348623159e308`:        false,
		`-1e309`:                        false,
		`1e-400`:                        true,
		`0e999`:                         true,
		`{"a":[1,{"b":2E+999}]}`:        false,
		`"1e999"`:                       true,
		`9007199254740993`:              true,
		strings.Repeat("9", 308):        true,
		strings.Repeat("9", 310):        false,
		`0.` + strings.Repeat("1", 400): true,
	} {
		if err := Bounded([]byte(value)); (err == nil) != ok {
			t.Errorf("%.60s: %v", value, err)
		}
	}
}

// A digest depends on neither order nor spacing, and on everything else.
func TestDigest(t *testing.T) {
	same := []string{`{"a":[1,{"b":null}],"c":"d"}`, ` {"c" : "d", "a":[ 1 ,{"b": null } ] } `}
	for _, v := range same {
		if Digest([]byte(v)) != Digest([]byte(same[0])) {
			t.Errorf("%s has another digest", v)
		}
	}
	seen := make(map[uint64]string)
	for _, v := range []string{same[0], `{}`, `[]`, `[{}]`, `{"a":[]}`, `[1,2]`, `[2,1]`, `[[1],2]`, `[1,[2]]`, `"1"`, `1`, `{"a":{"b":1},"c":2}`, `{"a":{"b":1,"c":2}}`, `[1]`, `[[1]]`} {
		d := Digest([]byte(v))
		if first, ok := seen[d]; ok || d == 0 {
			t.Errorf("%s has the digest of %q", v, first)
		}
		seen[d] = v
	}
	if d := Digest([]byte(" ")); d != 0 {
		t.Errorf("nothing has the digest %d", d)
	}
}

// BenchmarkDigestDeep shows that the time grows with the length and not with the depth.
func BenchmarkDigestDeep(b *testing.B) {
	for _, depth := range []int{1, 10, 100, 1000, 9000} {
		one := strings.Repeat("[", depth) + strings.Repeat("]", depth)
		value := []byte("[" + strings.Repeat(one+",", max(1, 18000/(2*depth+1))) + "0]")
		b.Run(strconv.Itoa(depth), func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			for b.Loop() {
				Digest(value)
			}
		})
	}
}
