package text

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Translate returns a text in a language, and its translations into all others as a JSON
// object by language. args returns the arguments for a language.
func (c *Catalogue) Translate(l Locale, id string, args func(Locale) Args) (text string, others []byte) {
	for _, other := range Locales {
		s := c.Text(other, id, args(other))
		if other == l {
			text = s
			continue
		}
		sep := byte('{')
		if others != nil {
			sep = ','
		}
		others = append(others, sep)
		others = fmt.Appendf(others, "%q:%s", string(other), quote(s))
	}
	return text, append(others, '}')
}

// quote writes a text as JSON.
func quote(s string) []byte {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(fmt.Sprintf("marshal text: %v", err)) // strings always marshal
	}
	return b
}

// Preferred returns the language of a user whose profile names one, or nil; preset
// otherwise.
func Preferred(own *string, preset Locale) Locale {
	if own == nil {
		return preset
	}
	return Match("", Locale(*own), preset)
}
