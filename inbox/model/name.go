package model

import (
	"strings"
	"unicode"
)

// CleanName returns the name of a person or a thing without the characters that set the
// direction of text (embeddings, overrides and isolates): their effect reaches beyond the
// end of the name, and shows others' words in another order. Joiners stay, because emoji and
// Persian need them.
func CleanName(name string) string {
	return strings.Map(func(r rune) rune {
		if 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return -1
		}
		return r
	}, name)
}

// visible are the categories of characters that show something: letters, numbers,
// punctuation and symbols.
var visible = []*unicode.RangeTable{unicode.L, unicode.N, unicode.P, unicode.S}

// Visible reports whether a text shows anything but space.
func Visible(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, visible...) &&
			!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && // fillers, which are letters
			r != 0x2800 // a Braille pattern without dots, which is a symbol
	})
}
