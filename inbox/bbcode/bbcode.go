// Package bbcode renders the BBCode of chat messages as safe HTML and as plain text.
//
// [HTML] knows a closed set of tags:
//
//	[b] [strong] [i] [em] [u] [s] [strike] [code]   strong, em, u, s, code; inside [code] nothing is a tag
//	[quote] [quote=Andi]                            blockquote, begun with the name
//	[list] [list=1] with [*]                        ul, ol, li
//	[url] [url=ADDRESS] [img] [img=ADDRESS]         text, see below
//	[color=…] [size=…] [font=…] [center]            left out, what they enclose stays
//
// A tag counts only as half of a pair: sizes such as "[S] [M] [L]", a forgotten
// end, emoticons such as "[jempol]" and every tag that is not listed stay as they
// were typed. HTML in a message is text like any other.
//
// Links stay text. [url=ADDRESS]words[/url] shows "words (ADDRESS)" when that is an
// absolute http or https address, and only the words otherwise. An <a> could say one
// address and open another, which is how buyers are lured out of a marketplace, and would
// open it inside the app's own webview; apps make the addresses that they see tappable
// themselves. Images are shown as their address for the same reason, and because fetching
// an image tells its owner who reads the message, and when. So HTML never writes an
// attribute.
//
// The output has balanced elements and was sanitized by bluemonday with exactly that
// allow-list. The parser is our own: of the public Go parsers one has had no change since
// 2020, lets javascript: links through and takes time quadratic in unmatched tags; the one
// that is still maintained has a data race when it is shared, recurses as deep as its
// input, and does not escape quotes in a link's query.
package bbcode

import (
	"html"
	"strings"

	"github.com/microcosm-cc/bluemonday"
)

// elements lists the elements that HTML writes, none with an attribute.
var elements = []string{"strong", "em", "u", "s", "code", "blockquote", "ul", "ol", "li"}

var policy = bluemonday.NewPolicy().AllowElements(elements...)

// HTML returns bb as a fragment of HTML that is safe inside any element which
// holds text. Line breaks stay "\n". The result depends on bb alone, is at most
// 16 times as long, and takes time linear in it. HTML may be called concurrently.
func HTML(bb string) string {
	r := renderer{write: html.EscapeString}
	return sanitize(r.render(parse(clean(bb))))
}

// sanitize is the last line of defence: it removes every element that is not allowed,
// whatever the renderer wrote. Without "<", as in most messages, there is no element to
// remove. An ampersand before a space begins no character reference and stays one, as in
// the documented samples.
func sanitize(fragment string) string {
	if strings.Contains(fragment, "<") {
		fragment = policy.Sanitize(fragment)
	}
	return strings.ReplaceAll(fragment, "&amp; ", "& ")
}

// Text returns what HTML shows of bb as plain text, for previews, pushes and
// search: blocks and list items begin a line. It is not HTML: "<" stays "<".
// The limits of HTML hold.
func Text(bb string) string {
	r := renderer{plain: true, write: func(s string) string { return s }}
	return r.render(parse(clean(bb)))
}

// clean replaces each kind of line break by "\n" and broken UTF-8 by U+FFFD. It drops
// invisible characters: controls, and direction overrides, whose effect would reach beyond
// the end of the message.
func clean(s string) string {
	if strings.Contains(s, "\r\n") {
		s = strings.ReplaceAll(s, "\r\n", "\n")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			return '\n'
		case r < ' ' || 0x7f <= r && r < 0xa0: // C0, DEL, C1
			return -1
		case 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069: // direction
			return -1
		case r == 0xfeff || r&0xfffe == 0xfffe: // byte order mark, no characters
			return -1
		}
		return r
	}, s)
}
