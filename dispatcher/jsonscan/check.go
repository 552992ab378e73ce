package jsonscan

import (
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// A Document is JSON that [Check] has read. It refers to the bytes that were checked.
type Document struct {
	raw  []byte
	sums []valueSum
}

// A valueSum is the digest of the value that begins at an index of the document.
type valueSum struct {
	start int
	sum   uint64
}

// summedDepth is how deep the values are whose digests a Document keeps; the document's
// value is at 0.
const summedDepth = 2

// Check reports whether raw is exactly one valid JSON value (RFC 7493: UTF-8, and the names
// of each object are unique) within the bounds of [Bounded]. The digests that [Document.Digest]
// returns are taken in the same pass.
//
// Names are compared by their xxHash, so that Check may refuse a valid value that was made
// for it. It does not say what is wrong: use Bounded and a decoder for that.
func Check(raw []byte) (Document, bool) {
	c := checker{b: raw, names: make([]uint64, 0, 48), sums: make([]valueSum, 0, 24)}
	_, end := c.value(skipSpace(raw, 0), 0)
	return Document{raw, c.sums}, end >= 0 && skipSpace(raw, end) == len(raw)
}

// Digest returns what [Digest] returns. It does not read a value again that lies within the
// document, no deeper than the members of its members.
func (d *Document) Digest(value jsontext.Value) uint64 {
	at := cap(d.raw) - cap(value)
	if len(value) > 0 && at >= 0 && at < len(d.raw) && &d.raw[at] == &value[0] {
		for _, s := range d.sums {
			if s.start == at {
				return s.sum
			}
		}
	}
	return Digest(value)
}

// A checker reads a document. Its methods read what begins at an index, and return the
// index after it, or -1 if it is not valid.
type checker struct {
	b     []byte
	names []uint64 // hashes of the names so far in the objects around the index, innermost last
	sums  []valueSum
}

func (c *checker) value(i, depth int) (sum uint64, end int) {
	if i >= len(c.b) {
		return 0, -1
	}
	switch c.b[i] {
	case '{':
		sum, end = c.object(i, depth)
	case '[':
		sum, end = c.array(i, depth)
	default:
		if end = c.scalar(i); end > 0 {
			sum = xxhash.Sum64(c.b[i:end])
		}
	}
	if end >= 0 && depth <= summedDepth {
		c.sums = append(c.sums, valueSum{i, sum})
	}
	return sum, end
}

func (c *checker) object(i, depth int) (sum uint64, end int) {
	if depth == MaxDepth {
		return 0, -1
	}
	total := uint64(len("{}"))
	names := nameSet{first: len(c.names)}
	for i = skipSpace(c.b, i+1); i >= len(c.b) || c.b[i] != '}'; {
		key, name, next := c.name(i)
		if next < 0 || !names.add(c, name) {
			return 0, -1
		}
		if i = skipSpace(c.b, next); i >= len(c.b) || c.b[i] != ':' {
			return 0, -1
		}
		value, next := c.value(skipSpace(c.b, i+1), depth+1)
		if next < 0 {
			return 0, -1
		}
		total += Mix(key, value)
		if i = c.next(next, '}'); i < 0 {
			return 0, -1
		}
	}
	c.names = c.names[:names.first]
	return Mix('{', total), i + 1
}

func (c *checker) array(i, depth int) (sum uint64, end int) {
	if depth == MaxDepth {
		return 0, -1
	}
	total := uint64(len("[]"))
	for i = skipSpace(c.b, i+1); i >= len(c.b) || c.b[i] != ']'; {
		value, next := c.value(i, depth+1)
		if next < 0 {
			return 0, -1
		}
		total = Mix(total, value)
		if i = c.next(next, ']'); i < 0 {
			return 0, -1
		}
	}
	return Mix('[', total), i + 1
}

// next returns the index of the bracket that closes an object or array after the member or
// element that ends at i, or else of its next one.
func (c *checker) next(i int, bracket byte) int {
	i = skipSpace(c.b, i)
	switch {
	case i >= len(c.b):
		return -1
	case c.b[i] == bracket:
		return i
	case c.b[i] != ',':
		return -1
	}
	if i = skipSpace(c.b, i+1); i >= len(c.b) || c.b[i] == bracket {
		return -1
	}
	return i
}

// name reads the name of a member. It returns the hash of its JSON, and that of the name.
func (c *checker) name(i int) (key, name uint64, end int) {
	if i >= len(c.b) || c.b[i] != '"' {
		return 0, 0, -1
	}
	end, escaped := c.text(i)
	if end < 0 {
		return 0, 0, -1
	}
	key = xxhash.Sum64(c.b[i:end])
	if !escaped {
		return key, key, end
	}
	plain, err := jsontext.AppendUnquote([]byte{'"'}, c.b[i:end])
	if err != nil {
		return 0, 0, -1
	}
	return key, xxhash.Sum64(append(plain, '"')), end
}

// A nameSet has the names of one object: those of the checker from an index on or, when they
// are many, a map.
type nameSet struct {
	first int
	many  map[uint64]struct{}
}

// fewNames is how many names are compared one by one.
const fewNames = 32

// add adds a name, and reports whether it is new.
func (s *nameSet) add(c *checker, name uint64) bool {
	if own := c.names[s.first:]; s.many == nil && len(own) < fewNames {
		c.names = append(c.names, name)
		return !slices.Contains(own, name)
	}
	if s.many == nil {
		s.many = make(map[uint64]struct{}, 2*fewNames)
		for _, n := range c.names[s.first:] {
			s.many[n] = struct{}{}
		}
	}
	before := len(s.many)
	s.many[name] = struct{}{}
	return len(s.many) > before
}

func (c *checker) scalar(i int) int {
	switch c.b[i] {
	case '"':
		end, _ := c.text(i)
		return end
	case 't':
		return c.literal(i, "true")
	case 'f':
		return c.literal(i, "false")
	case 'n':
		return c.literal(i, "null")
	}
	return c.number(i)
}

func (c *checker) literal(i int, word string) int {
	if end := i + len(word); end <= len(c.b) && string(c.b[i:end]) == word {
		return end
	}
	return -1
}

// number reads a number that a double can hold.
func (c *checker) number(start int) int {
	i := start
	if c.at(i) == '-' {
		i++
	}
	if c.at(i) == '0' {
		i++
	} else if i = c.digits(i); i < 0 {
		return -1
	}
	if c.at(i) == '.' {
		if i = c.digits(i + 1); i < 0 {
			return -1
		}
	}
	if e := c.at(i); e == 'e' || e == 'E' {
		if i++; c.at(i) == '+' || c.at(i) == '-' {
			i++
		}
		if i = c.digits(i); i < 0 {
			return -1
		}
	}
	if overflows(c.b[start:i]) {
		return -1
	}
	return i
}

// at returns a byte, or 0 after the end.
func (c *checker) at(i int) byte {
	if i < len(c.b) {
		return c.b[i]
	}
	return 0
}

// digits reads one digit or more.
func (c *checker) digits(i int) int {
	start := i
	for i < len(c.b) && '0' <= c.b[i] && c.b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

// plain has the bytes that stand for themselves in a string, and are whole characters.
var plain = func() (p [256]bool) {
	for b := ' '; b < utf8.RuneSelf; b++ {
		p[b] = b != '"' && b != '\\'
	}
	return p
}()

// text reads a string, and reports whether it has escapes.
func (c *checker) text(i int) (end int, escaped bool) {
	for i++; i < len(c.b); {
		switch b := c.b[i]; {
		case plain[b]:
			i++
		case b == '"':
			return i + 1, escaped
		case b == '\\':
			escaped = true
			if i = c.escape(i + 1); i < 0 {
				return -1, true
			}
		case b < utf8.RuneSelf: // a control character
			return -1, escaped
		default:
			r, size := utf8.DecodeRune(c.b[i:])
			if r == utf8.RuneError && size <= 1 {
				return -1, escaped
			}
			i += size
		}
	}
	return -1, escaped
}

// escape reads what follows a backslash. A surrogate must be followed by its other half.
func (c *checker) escape(i int) int {
	switch c.at(i) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
	default:
		return -1
	}
	first, ok := c.hex(i + 1)
	switch {
	case !ok:
		return -1
	case !utf16.IsSurrogate(first):
		return i + 5
	case c.at(i+5) != '\\' || c.at(i+6) != 'u':
		return -1
	}
	second, ok := c.hex(i + 7)
	if !ok || utf16.DecodeRune(first, second) == utf8.RuneError {
		return -1
	}
	return i + 11
}

// hex reads four hexadecimal digits.
func (c *checker) hex(i int) (r rune, ok bool) {
	if i+4 > len(c.b) {
		return 0, false
	}
	for _, d := range c.b[i : i+4] {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}
