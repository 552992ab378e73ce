package bbcode

import (
	"net/url"
	"strings"
	"unicode"
)

// A tag is the meaning of a word in brackets. Several words may name the same tag.
type tag uint8

const (
	text tag = iota // not a tag
	bold
	italic
	underline
	strike
	code
	quote
	list
	item // [*], the only tag without a closing tag
	link
	image
	color
	size
	font
	center
	tagCount
)

var names = map[string]tag{
	"b": bold, "strong": bold, "i": italic, "em": italic, "u": underline,
	"s": strike, "strike": strike, "code": code, "quote": quote, "list": list,
	"*": item, "url": link, "img": image, "color": color, "size": size,
	"font": font, "center": center,
}

// longestName is the length of the longest name; a longer word is not looked up.
const longestName = len("strong")

// styles maps the tags that may overlap each other and blocks to their elements.
var styles = [tagCount]string{bold: "strong", italic: "em", underline: "u", strike: "s", code: "code"}

// isBlock reports whether pairs of t must nest.
func (t tag) isBlock() bool { return t == quote || t == list }

// maxAddress bounds the address of a link, in bytes.
const maxAddress = 2048

// isAddress reports whether s is an absolute web address, and nothing else.
func isAddress(s string) bool {
	if len(s) > maxAddress || strings.ContainsFunc(s, unicode.IsSpace) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
