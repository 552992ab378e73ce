package model

import "testing"

func TestNames(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		name, clean string
		visible     bool
	}{
		"plain":                   {"Me Ow", "Me Ow", true},
		"an override":             {"\u202eevil\u202c", "evil", true},
		"an embedding":            {"a\u202ab\u202bc", "abc", true},
		"isolates":                {"\u2066a\u2069 \u2067b\u2069 \u2068c\u2069", "a b c", true},
		"marks of direction":      {"שלום\u200f a\u200e", "שלום\u200f a\u200e", true},
		"Persian with a joiner":   {"می\u200cخواهم", "می\u200cخواهم", true},
		"emoji with joiners":      {"👩\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e007f ❤\ufe0f", "👩\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e007f ❤\ufe0f", true},
		"an emoji alone":          {"🙂", "🙂", true},
		"punctuation":             {"-", "-", true},
		"a combining mark":        {"e\u0301", "e\u0301", true},
		"broken UTF-8":            {"a\xff", "a\ufffd", true},
		"nothing":                 {"", "", false},
		"space":                   {" \u00a0\u3000\t\n", " \u00a0\u3000\t\n", false},
		"overrides alone":         {"\u202e\u2066\u2069", "", false},
		"joiners alone":           {"\u200d\u200c\u200b\u2060", "\u200d\u200c\u200b\u2060", false},
		"fillers":                 {"\u3164\uffa0\u115f\u2800", "\u3164\uffa0\u115f\u2800", false},
		"selectors and a BOM":     {"\ufe0f\ufeff\u00ad", "\ufe0f\ufeff\u00ad", false},
		"a combining mark alone":  {"\u0301", "\u0301", false},
		"a tag without its emoji": {"\U000e0067", "\U000e0067", false},
	} {
		if got := CleanName(c.name); got != c.clean {
			t.Errorf("%s: %q becomes %q, want %q", name, c.name, got, c.clean)
		}
		if got := Visible(CleanName(c.name)); got != c.visible {
			t.Errorf("%s: visible %t", name, got)
		}
	}
}
