// Package jsonscan walks JSON that is known to be valid, without reflection and without
// copying. Publishing reads every event with it: four passes of a decoder were a fifth of
// what a push costs.
//
// [Check] validates JSON. The other functions do not detect invalid JSON: they misread it,
// but neither panic nor loop forever. They have no state and are safe for concurrent use.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNotObject is the error of [EachMember] for a value that is not an object. Its text
// continues a sentence that begins with a field's name.
var ErrNotObject = errors.New("must be a JSON object")

// A Member is a member of an object. Key and Value are the JSON of its name (a string,
// with quotes and escapes) and of its value, without space around them. They refer to the
// scanned bytes.
type Member struct{ Key, Value jsontext.Value }

// Name returns the name without quotes and escapes. It copies only a name with escapes; a
// comparison such as string(m.Name()) == "id" does not allocate.
func (m Member) Name() []byte {
	if len(m.Key) < 2 {
		return nil
	}
	if bytes.IndexByte(m.Key, '\\') < 0 {
		return m.Key[1 : len(m.Key)-1]
	}
	name, _ := jsontext.AppendUnquote(nil, m.Key) // the caller promises valid JSON
	return name
}

// EachMember calls f with the members of an object in their order, duplicates included.
// The error is ErrNotObject for any other value.
func EachMember(object []byte, f func(m Member)) error {
	i := skipSpace(object, 0)
	if i == len(object) || object[i] != '{' {
		return ErrNotObject
	}
	for i = skipSpace(object, i+1); i < len(object) && object[i] != '}'; {
		end := skipString(object, i)
		m := Member{Key: object[i:end]}
		start := min(skipSpace(object, skipSpace(object, end)+1), len(object)) // past the colon
		i = skipValue(object, start)
		m.Value = object[start:i]
		f(m)
		if i = skipSpace(object, i); i < len(object) && object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	if i >= len(object) {
		return ErrNotObject
	}
	return nil
}

// EachElement calls f with the elements of an array in their order. The value must be an
// array without space before it.
func EachElement(array []byte, f func(v jsontext.Value)) {
	for i := skipSpace(array, 1); i < len(array) && array[i] != ']'; {
		end := skipValue(array, i)
		f(array[i:end])
		if i = skipSpace(array, end); i < len(array) && array[i] == ',' {
			i = skipSpace(array, i+1)
		} else if i < len(array) && end == i && array[i] != ']' {
			return // not valid
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// skipString returns the index after the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(b))
}

// skipValue returns the index after the value that begins at i.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return i
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; i < len(b); {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return i
	}
	for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	return i
}

// AppendCompact appends a value to dst without the white space between its tokens.
func AppendCompact(dst, value []byte) []byte {
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == '"':
			end := skipString(value, i)
			dst = append(dst, value[i:end]...)
			i = end
		case isSpace(c):
			i++
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

// Digest returns a digest (xxHash) of a value, which depends neither on the white space
// between its tokens nor on the order of the members of its objects. It is 0 for an empty
// value. It reads each byte once, however deep the value is nested.
func Digest(value []byte) uint64 {
	i := skipSpace(value, 0)
	if i == len(value) {
		return 0
	}
	sum, _ := digestAt(value, i)
	return sum
}

// digestAt returns the digest of the value that begins at i, and the index after it.
func digestAt(b []byte, i int) (sum uint64, end int) {
	if i >= len(b) {
		return 0, i
	}
	switch b[i] {
	case '{':
		return digestObject(b, i)
	case '[':
		return digestArray(b, i)
	}
	end = skipValue(b, i)
	return xxhash.Sum64(b[i:end]), end
}

func digestObject(b []byte, i int) (sum uint64, end int) {
	total := uint64(len("{}"))
	for i = skipSpace(b, i+1); i < len(b) && b[i] != '}'; {
		key := skipString(b, i)
		value, next := digestAt(b, skipSpace(b, skipSpace(b, key)+1)) // past the colon
		total += Mix(xxhash.Sum64(b[i:key]), value)
		i = skipComma(b, next)
	}
	return Mix('{', total), min(i+1, len(b))
}

func digestArray(b []byte, i int) (sum uint64, end int) {
	total := uint64(len("[]"))
	for i = skipSpace(b, i+1); i < len(b) && b[i] != ']'; {
		value, next := digestAt(b, i)
		total = Mix(total, value)
		if after := skipComma(b, next); after > i {
			i = after
			continue
		}
		break // not valid
	}
	return Mix('[', total), min(i+1, len(b))
}

// skipComma returns the index of the member or element that follows the one that ends at
// i, or of the bracket.
func skipComma(b []byte, i int) int {
	if i = skipSpace(b, i); i < len(b) && b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i
}

// Mix combines two digests; Mix(a, b) differs from Mix(b, a).
func Mix(a, b uint64) uint64 {
	var buf [16]byte
	binary.LittleEndian.PutUint64(buf[:8], a)
	binary.LittleEndian.PutUint64(buf[8:], b)
	return xxhash.Sum64(buf[:])
}

// Absent reports whether the value of a field is missing (empty) or null.
func Absent(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }

// Scalar returns the text of a string or number: services send numbers as strings and
// strings as numbers. It is false for any other value.
func Scalar(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '"':
		return string(Member{Key: v}.Name()), true
	case '0':
		return string(v), true
	}
	return "", false
}

// AppendString appends s to b as a JSON string, with no more escapes than JSON requires.
// Bytes that are not UTF-8 become U+FFFD.
func AppendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the error reports only what became U+FFFD
	return b
}
