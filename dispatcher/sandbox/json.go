package sandbox

import (
	"strconv"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// members calls each with the names, unescaped, and the values of the members of a JSON
// object until it returns false. It does nothing for any other value. raw must be valid
// (json.Valid).
func members(raw []byte, each func(name, value []byte) bool) {
	stopped := false
	_ = jsonscan.EachMember(raw, func(m jsonscan.Member) { // the error means: not an object
		stopped = stopped || !each(m.Name(), m.Value)
	})
}

func isString(value []byte) bool { return value[0] == '"' }
func isObject(value []byte) bool { return value[0] == '{' }

// isNull reports whether a value is null, which protocol buffers treat as absent.
func isNull(value []byte) bool { return value[0] == 'n' }

// textLen returns the length of a JSON string without quotes and escapes, in bytes of
// UTF-8. It does not allocate.
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

// escapedLen returns the length in UTF-8 of the UTF-16 code unit with four hexadecimal
// digits: 2 for each half of a surrogate pair, which has four bytes in all.
func escapedLen(digits []byte) int {
	code, _ := strconv.ParseUint(string(digits), 16, 16)
	switch {
	case code < 0x80:
		return 1
	case code < 0x800, 0xD800 <= code && code < 0xE000: // half of a surrogate pair
		return 2
	}
	return 3
}
