package rdb

import (
	"regexp"
	"strings"
)

var (
	definition  = regexp.MustCompile(`(?m)^local (function )?`)
	commentLine = regexp.MustCompile(`(?m)^\s*--.*$`)
	word        = regexp.MustCompile(`[A-Za-z_]\w*`)
)

// withUsed returns Lua source after those definitions of a library that it uses, directly
// or through other ones: Redis executes the whole text at each call, so that definitions
// which a script does not use would cost it several microseconds. In a library each line
// that begins with "local" begins a definition, which uses only earlier ones. What stands
// before the first one is dropped.
func withUsed(library, source string) string {
	used := wordsOf(source)
	begins := definition.FindAllStringIndex(library, -1)
	end := len(library)
	for i := len(begins) - 1; i >= 0; i-- {
		text := library[begins[i][0]:end]
		end = begins[i][0]
		names, _, _ := strings.Cut(library[begins[i][1]:], "\n")
		names, _, _ = strings.Cut(names, "=")
		names, _, _ = strings.Cut(names, "(")
		for _, name := range word.FindAllString(names, -1) {
			if used[name] {
				source = text + source
				for w := range wordsOf(text) {
					used[w] = true
				}
				break
			}
		}
	}
	return source
}

// wordsOf returns the words of Lua source outside of lines that are comments.
func wordsOf(source string) map[string]bool {
	words := make(map[string]bool)
	for _, w := range word.FindAllString(commentLine.ReplaceAllString(source, ""), -1) {
		words[w] = true
	}
	return words
}
