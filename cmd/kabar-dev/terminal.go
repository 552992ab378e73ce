package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// A paint colours text, or does not.
type paint bool

// paintFor returns colours where they are welcome: out is a terminal, and
// NO_COLOR (no-color.org) is not set.
func paintFor(out io.Writer) paint {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p paint) bold(s string) string { return p.in("1", s) }
func (p paint) dim(s string) string  { return p.in("2", s) }
func (p paint) red(s string) string  { return p.in("31", s) }
func (p paint) cyan(s string) string { return p.in("36", s) }

func (p paint) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// wrap breaks text into lines of at most width columns. A text of more lines than
// most is cut with an ellipsis.
func wrap(text string, width, most int) []string {
	var lines []string
	for paragraph := range strings.Lines(text) {
		lines = append(lines, wrapParagraph(clean(paragraph), width)...)
	}
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] = cut(lines[most-1], width-1) + "…"
	}
	return lines
}

// wrapParagraph breaks at spaces, and inside a word that is too long for a line.
func wrapParagraph(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		joined := strings.TrimPrefix(line+" "+word, " ")
		if uniseg.StringWidth(joined) <= width {
			line = joined
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for line = word; uniseg.StringWidth(line) > width; {
			head := cut(line, width)
			if head == "" { // one character as wide as that is nonsense
				line = ""
				break
			}
			lines = append(lines, head)
			line = line[len(head):]
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// shorten cuts text to at most width columns, with an ellipsis where it does.
func shorten(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	return cut(text, width-1) + "…"
}

// cut returns the beginning of text that fills at most width columns, in whole
// characters.
func cut(text string, width int) string {
	end, used := 0, 0
	g := uniseg.NewGraphemes(text)
	for g.Next() {
		if used += g.Width(); used > width {
			break
		}
		_, end = g.Positions()
	}
	return text[:end]
}

// clean keeps a push from steering the terminal: control characters, and those
// that turn the direction of writing, become spaces.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}
