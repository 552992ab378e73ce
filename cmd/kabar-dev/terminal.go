package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/kabar-gateway/kabar/cmd/internal/cli"
)

// A paint colours text if it is true.
type paint bool

// paintFor returns a paint that colours text if out is a terminal and NO_COLOR
// (no-color.org) is not set.
func paintFor(out io.Writer) paint {
	return paint(os.Getenv("NO_COLOR") == "" && cli.IsTerminal(out))
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

// wrap breaks text into lines of at most width columns, and cuts it with an ellipsis after
// maxLines.
func wrap(text string, width, maxLines int) []string {
	var lines []string
	for paragraph := range strings.Lines(text) {
		lines = append(lines, wrapParagraph(clean(paragraph), width)...)
	}
	if len(lines) > maxLines {
		lines = lines[:maxLines]
		lines[maxLines-1] = cut(lines[maxLines-1], width-1) + "…"
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
			if head == "" { // the first character is wider than a line
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

// shorten cuts text to at most width columns, with an ellipsis at the cut.
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

// clean replaces control characters and characters that change the direction of writing by
// spaces, so that a push cannot control the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}
