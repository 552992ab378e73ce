package provider

import (
	"github.com/rivo/uniseg"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

const ellipsis = "…"

// Cut returns s if it has at most limit bytes, and otherwise its beginning followed by
// "…", within limit bytes (or "…" alone if the limit is smaller than that). It cuts
// between grapheme clusters, so that neither an emoji of several runes nor a letter and
// its accents come apart.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	kept, rest, state := 0, s, -1
	for {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if kept+len(cluster)+len(ellipsis) > limit {
			return s[:kept] + ellipsis
		}
		kept += len(cluster)
	}
}

// AppendString appends s to b as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString(b []byte, s string) []byte { return jsonscan.AppendString(b, s) }
