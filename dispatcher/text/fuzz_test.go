package text

import (
	"slices"
	"testing"
)

// FuzzAcceptLanguage checks that whatever a client prefers, it gets a language that there
// is.
func FuzzAcceptLanguage(f *testing.F) {
	for _, seed := range []string{"id", "en-GB;q=0.8, id;q=0.9", "*", "ms, en;q=0", "in", "en;q=2", "x-klingon,,;", "zh-Hant-u-co-pinyin"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if l := Accepted(header); l != "" && !slices.Contains(Locales[:], l) {
			t.Errorf("%q is answered in %q", header, l)
		}
		if l := Match(header, Locale(header), ""); !slices.Contains(Locales[:], l) {
			t.Errorf("%q is answered in %q", header, l)
		}
	})
}
