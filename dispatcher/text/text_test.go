package text

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every text exists in every language, can be executed in every plural form, and has the
// same fields in all languages.
func TestEveryLanguageSaysTheSame(t *testing.T) {
	c := Default()
	if len(c.IDs()) < 40 {
		t.Fatalf("%d texts", len(c.IDs()))
	}
	for _, id := range c.IDs() {
		want, err := c.fields(Locales[0], id)
		if err != nil {
			t.Errorf("%s: %s: %v", Locales[0], id, err)
		}
		for _, l := range Locales[1:] {
			got, err := c.fields(l, id)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %s: speaks of %v, and in %s of %v, %v", l, id, got, Locales[0], want, err)
			}
		}
	}
}

func TestText(t *testing.T) {
	c := Default()
	for _, tc := range []struct {
		locale Locale
		id     string
		args   Args
		want   string
	}{
		// These texts must equal the documented ones exactly.
		{Indonesian, "transaction.paid.seller", Args{Buyer: "Liem Lie Wie"}, "Transaksi baru dari Liem Lie Wie"},
		{Indonesian, "nego.waiting.seller", Args{Buyer: "Me Ow"}, "Anda mendapatkan tawaran nego dari Me Ow"},
		{Indonesian, "message", Args{From: "Me Ow"}, "Anda mendapatkan pesan dari Me Ow"},
		{Indonesian, "withdrawal.processed.owner", Args{Amount: "25000"}, "Dana sebesar 25000 telah dicairkan"},
		{Indonesian, "report.reported.owner", Args{Product: "g.kunci sinchan"}, "g.kunci sinchan telah dilaporkan"},

		{Indonesian, "messages", Args{From: "Me Ow", Count: 1}, "1 pesan dari Me Ow"},
		{Indonesian, "messages", Args{From: "Me Ow", Count: 3}, "3 pesan dari Me Ow"},
		{English, "messages", Args{From: "Me Ow", Count: 0}, "0 messages from Me Ow"},
		{English, "messages", Args{From: "Me Ow", Count: 1}, "1 message from Me Ow"},
		{English, "messages", Args{From: "Me Ow", Count: 21}, "21 messages from Me Ow"},
		{English, "message", Args{From: "<b> & {{.Count}}"}, "You have received a message from <b> & {{.Count}}"},
		{"fr", "somebody", Args{}, "pengguna lain"},
		{"", "somebody", Args{}, "pengguna lain"},
	} {
		if got := c.Text(tc.locale, tc.id, tc.args); got != tc.want {
			t.Errorf("%s: %s: %q, want %q", tc.locale, tc.id, got, tc.want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		header       string
		user, preset Locale
		want         Locale
	}{
		{"", "", "", Indonesian},
		{"", "", English, English},
		{"", Indonesian, English, Indonesian},
		{"", "fr", "fr", Indonesian},
		{"en", Indonesian, Indonesian, English},
		{"en-GB,en;q=0.9", "", "", English},
		{"id-ID,id;q=0.9,en;q=0.8", English, English, Indonesian},
		{"in", English, "", Indonesian}, // the code that old Android versions use
		{"fr, en;q=0.3", Indonesian, "", English},
		{"en;q=0.3, id;q=0.7", English, "", Indonesian},
		{"fr,de;q=0.5", English, Indonesian, English},
		{"ms", English, Indonesian, English}, // a similar language, but a different one
		{"*", English, Indonesian, English},
		{"\x00,;q=", English, Indonesian, English},
	} {
		if got := Match(tc.header, tc.user, tc.preset); got != tc.want {
			t.Errorf("Match(%q, %q, %q) = %q, want %q", tc.header, tc.user, tc.preset, got, tc.want)
		}
	}
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOperatorsTexts(t *testing.T) {
	c, err := New(Options{Folder: folder(t, map[string]string{
		"id.yaml": "transaction:\n  paid: {seller: \"Ada pesanan dari {{.Buyer}}!\"}\nmessages: \"{{.Count}} chat dari {{.From}}\"\n",
		"en.yaml": "",
		".hidden": "x",
	})})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		locale Locale
		id     string
		want   string
	}{
		{Indonesian, "transaction.paid.seller", "Ada pesanan dari A!"},
		{Indonesian, "transaction.paid.buyer", "Pembayaran Anda kepada B telah diterima"},
		{Indonesian, "messages", "2 chat dari C"},
		{English, "transaction.paid.seller", "New transaction from A"},
	} {
		if got := c.Text(tc.locale, tc.id, Args{Buyer: "A", Seller: "B", From: "C", Count: 2}); got != tc.want {
			t.Errorf("%s: %s: %q, want %q", tc.locale, tc.id, got, tc.want)
		}
	}
}

func TestUnusableTextsAreNamed(t *testing.T) {
	for _, tc := range []struct{ name, file, content, want string }{
		{"an id that nobody asks for", "id.yaml", "transaction: {payed: {seller: x}}", "id.yaml: transaction.payed.seller: there is no such text"},
		{"a language that Kabar does not speak", "fr.yaml", "somebody: quelqu'un", "fr.yaml: must be id.yaml or en.yaml"},
		{"another format", "en.json", `{"somebody":"x"}`, "en.json: must be id.yaml or en.yaml"},
		{"no YAML", "en.yaml", "a: [", "en.yaml: "},
		{"a list", "en.yaml", "somebody: [1]", "en.yaml: "},
		{"a template that cannot be parsed", "en.yaml", `message: "{{.From"`, "en.yaml: message: "},
		{"a field that there is not", "en.yaml", `message: "{{.Sender}}"`, "en.yaml: message: "},
		{"a field that the text is not given", "en.yaml", `message: "{{.Amount}}"`, "en.yaml: message: {{.Amount}} is not among what this text is given: From"},
		{"a plural form is missing", "en.yaml", `messages: {other: "{{.Count}} messages"}`, "en.yaml: messages: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(Options{Folder: folder(t, map[string]string{tc.file: tc.content})})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := New(Options{Folder: filepath.Join(t.TempDir(), "missing")}); err == nil {
		t.Error("a missing folder is not an error")
	}
}

func BenchmarkText(b *testing.B) {
	c := Default()
	b.ReportAllocs()
	for b.Loop() {
		c.Text(English, "transaction.paid.seller", Args{Buyer: "Liem Lie Wie"})
	}
}
