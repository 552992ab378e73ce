package provider

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

const ellipsis = "…"

// Cut returns s if it has at most that many bytes, else its beginning and "…",
// together at most that many bytes, yet never less than the "…" itself. It cuts
// between what a reader takes for characters: neither an emoji that is joined of
// several nor a letter and its accents come apart.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	kept, rest, state := 0, s, -1
	for {
		var character string
		character, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if kept+len(character)+len(ellipsis) > most {
			return s[:kept] + ellipsis
		}
		kept += len(character)
	}
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	if isPlain(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.Encode(s) // a string can always be encoded, and a Buffer written
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// isPlain reports whether s stands in JSON as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return utf8.ValidString(s)
}
