package sandbox

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// members calls each with the members of the JSON object in raw, in order, until
// it returns false; of anything but an object it makes nothing. It allocates
// nothing, which is why raw must be valid (json.Valid). Names come unescaped,
// values as they stand.
func members(raw []byte, each func(name, value []byte) bool) {
	rest := space(raw)
	if len(rest) == 0 || rest[0] != '{' {
		return
	}
	rest = space(rest[1:])
	for rest[0] == '"' {
		var name, value []byte
		name, rest = cutValue(rest)
		rest = space(rest)[1:] // past the colon
		value, rest = cutValue(space(rest))
		if !each(unescape(name), value) {
			return
		}
		rest = space(rest)
		if rest[0] == ',' {
			rest = space(rest[1:])
		}
	}
}

// cutValue splits the JSON value at the start of raw from what follows it.
func cutValue(raw []byte) (value, rest []byte) {
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i += stringEnd(raw[i:])
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		default:
			if depth == 0 {
				i += scalarEnd(raw[i:])
			}
		}
		if depth == 0 {
			return raw[:i+1], raw[i+1:]
		}
	}
	return raw, nil
}

// stringEnd returns the index of the quote that ends the string at the start of
// raw: the first one after an even number of backslashes.
func stringEnd(raw []byte) int {
	end := 0
	for {
		end += 1 + bytes.IndexByte(raw[end+1:], '"')
		slashes := 0
		for raw[end-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return end
		}
	}
}

// scalarEnd returns the index of the last byte of the number or word at the
// start of raw.
func scalarEnd(raw []byte) int {
	for i, c := range raw {
		switch c {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return i - 1
		}
	}
	return len(raw) - 1
}

// space returns raw without the white space that it begins with.
func space(raw []byte) []byte {
	for i, c := range raw {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return raw[i:]
		}
	}
	return nil
}

func isString(value []byte) bool { return value[0] == '"' }
func isObject(value []byte) bool { return value[0] == '{' }

// isNull reports whether a value is null, which protocol buffers read as absent.
func isNull(value []byte) bool { return value[0] == 'n' }

// unescape returns what a string value says.
func unescape(value []byte) []byte {
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var s string
	json.Unmarshal(value, &s) // cannot fail: the string is valid
	return []byte(s)
}

// textLen returns the length of what a string value says, in bytes of UTF-8.
// Unlike unescape, it does not allocate.
func textLen(value []byte) int {
	inner := value[1 : len(value)-1]
	n := len(inner)
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' {
			continue
		}
		i++
		n-- // for the backslash
		if inner[i] == 'u' {
			n -= len("u0000") - escapedLen(inner[i+1:i+5])
			i += 4
		}
	}
	return n
}

// escapedLen returns the length in UTF-8 of the character with a code of four
// hexadecimal digits.
func escapedLen(digits []byte) int {
	code, _ := strconv.ParseUint(string(digits), 16, 16)
	switch {
	case code < 0x80:
		return 1
	case code < 0x800, 0xD800 <= code && code < 0xE000: // or half of a pair, which has four bytes
		return 2
	}
	return 3
}
