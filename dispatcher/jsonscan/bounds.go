package jsonscan

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// MaxDepth is how deep objects and arrays that outsiders send may be nested: the value
// itself is the first level.
const MaxDepth = 64

// safeDigits is how many digits a whole number may have without being larger than what a
// double can hold, which is some 1.8e308.
const safeDigits = 308

// Bounded returns an error for a value that is nested deeper than MaxDepth, or that has a
// number which a double cannot hold: phones read that as infinity, or refuse it. Numbers
// with more digits than a double keeps are fine, because nothing here rounds them. It reads
// each byte once. The error's text continues a sentence that begins with the value's name,
// and repeats nothing of the value.
//
// The value need not be valid JSON: then the error, or nil, says nothing.
func Bounded(value []byte) error {
	depth := 0
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == '"':
			i = skipString(value, i)
			continue
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("is nested deeper than %d levels at byte %d", MaxDepth, i)
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || '0' <= c && c <= '9':
			end := skipNumber(value, i)
			if overflows(value[i:end]) {
				return fmt.Errorf("has a number at byte %d that is too large", i)
			}
			i = end
			continue
		}
		i++
	}
	return nil
}

// skipNumber returns the index after the number that begins at i.
func skipNumber(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case '0' <= c && c <= '9', c == '.', c == '+', c == '-', c == 'e', c == 'E':
		default:
			return i
		}
	}
	return i
}

// overflows reports whether a number is larger than a double can hold.
func overflows(number []byte) bool {
	if len(number) <= safeDigits && !bytes.ContainsAny(number, "eE") {
		return false
	}
	f, err := strconv.ParseFloat(string(number), 64)
	return err != nil && math.IsInf(f, 0)
}
