package text

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTranslate(t *testing.T) {
	t.Parallel()
	c := Default()
	const (
		indonesian = `Anda mendapatkan pesan dari "Me" \ Ow (id)`
		english    = `You have received a message from "Me" \ Ow (en)`
	)
	for _, tc := range []struct {
		locale Locale
		want   string
		others string
	}{
		{Indonesian, indonesian, `{"en":"You have received a message from \"Me\" \\ Ow (en)"}`},
		{English, english, `{"id":"Anda mendapatkan pesan dari \"Me\" \\ Ow (id)"}`},
	} {
		got, others := c.Translate(tc.locale, "message", func(l Locale) Args { return Args{From: `"Me" \ Ow (` + string(l) + `)`} })
		if got != tc.want || string(others) != tc.others {
			t.Errorf("%s: %s, %s", tc.locale, got, others)
		}
	}
}

// Every text is translated into all languages except the requested one.
func TestTranslateIntoEveryLanguage(t *testing.T) {
	t.Parallel()
	c := Default()
	for _, id := range c.IDs() {
		for _, l := range Locales {
			got, others := c.Translate(l, id, func(Locale) Args { return Args{Count: 2} })
			want := make(map[Locale]string)
			for _, other := range Locales {
				want[other] = c.Text(other, id, Args{Count: 2})
			}
			all := make(map[Locale]string)
			if err := json.Unmarshal(others, &all); err != nil {
				t.Fatalf("%s: %s: %v", id, others, err)
			}
			if own, ok := all[l]; ok {
				t.Errorf("%s: %q is repeated in %s", id, own, l)
			}
			all[l] = got
			if diff := cmp.Diff(want, all); diff != "" {
				t.Errorf("%s: %s", id, diff)
			}
		}
	}
}

func TestPreferred(t *testing.T) {
	t.Parallel()
	own := func(s string) *string { return &s }
	for name, tc := range map[string]struct {
		own          *string
		preset, want Locale
	}{
		"no language of one's own":        {nil, English, English},
		"a language of one's own":         {own("en"), Indonesian, English},
		"the preset one":                  {own("id"), Indonesian, Indonesian},
		"a language that Kabar lacks":     {own("fr"), English, English},
		"an empty language":               {own(""), English, English},
		"neither is one that Kabar knows": {own("fr"), "de", Indonesian},
	} {
		if got := Preferred(tc.own, tc.preset); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
