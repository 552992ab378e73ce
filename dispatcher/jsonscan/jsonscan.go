package jsonscan

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// The functions of this file walk JSON that is known to be valid, without
// reflection and without copying. Publishing reads every event through them: four
// passes of a decoder were a fifth of what a push costs. What is not valid they
// misread, and come to an end.

var ErrNotObject = errors.New("must be a JSON object")

// member is a member of an object: name and value as they stand, quotes included.
type Member struct{ Key, Value jsontext.Value }

// name returns the name as text. Compared as string(m.name()) it is not copied.
func (m Member) Name() []byte {
	if len(m.Key) < 2 {
		return nil
	}
	if bytes.IndexByte(m.Key, '\\') < 0 {
		return m.Key[1 : len(m.Key)-1]
	}
	name, _ := jsontext.AppendUnquote(nil, m.Key) // it is valid
	return name
}

// eachMember calls f with the members of a valid object in order.
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

// eachElement calls f with the elements of a valid array in order.
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

// appendCompact appends a valid value without the white space between its tokens.
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

// digestOf is a digest of a valid value: the same whatever white space it has, and in
// whatever order the members of its objects come.
func Digest(value []byte) uint64 {
	value = bytes.TrimSpace(value)
	switch {
	case len(value) == 0:
		return 0
	case value[0] == '{':
		total := uint64(len("{}"))
		_ = EachMember(value, func(m Member) { // it is an object
			total += Mix(xxhash.Sum64(m.Key), Digest(m.Value))
		})
		return Mix('{', total)
	case value[0] == '[':
		total := uint64(len("[]"))
		EachElement(value, func(v jsontext.Value) { total = Mix(total, Digest(v)) })
		return Mix('[', total)
	}
	return xxhash.Sum64(value)
}

// mix joins two digests; their order matters.
func Mix(a, b uint64) uint64 {
	var buf [16]byte
	binary.LittleEndian.PutUint64(buf[:8], a)
	binary.LittleEndian.PutUint64(buf[8:], b)
	return xxhash.Sum64(buf[:])
}

// absent reports whether a field was left out or null.
func Absent(v jsontext.Value) bool { return len(v) == 0 || v.Kind() == 'n' }

// scalar returns the text of a string or number, since numbers may arrive as
// strings and the reverse.
func Scalar(v jsontext.Value) (string, bool) {
	switch v.Kind() {
	case '"':
		return string(Member{Key: v}.Name()), true
	case '0':
		return string(v), true
	}
	return "", false
}

func AppendString(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil {
		return append(b, `""`...) // not UTF-8: refused by the parser
	}
	return out
}
