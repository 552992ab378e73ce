package bbcode

import (
	"bufio"
	stdhtml "html"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// The lists are repeated here, so that neither of them grows unnoticed.
var (
	inlines = []string{"strong", "em", "u", "s", "code"}
	allowed = append([]string{"blockquote", "ul", "ol", "li"}, inlines...)
)

// attacks returns the texts in testdata/attacks.txt.
func attacks(t testing.TB) []string {
	t.Helper()
	f, err := os.Open("testdata/attacks.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '"' {
			if line, err = strconv.Unquote(line); err != nil {
				t.Fatalf("attacks.txt:%d: %v", n, err)
			}
		}
		all = append(all, line)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// places are the positions in a message, marked "%", where an attack is inserted.
var places = []string{
	"%", "[b]%[/b]", "[b]%", "[i][b]%[/i]%[/b]",
	"[url=%]x[/url]", `[url="%"]x[/url]`, "[url=https://ok.example/%]x[/url]", "[url]%[/url]",
	"[img]%[/img]", "[img=%]x[/img]", "[quote]%[/quote]", "[quote=%]x[/quote]", `[quote="%"]x[/quote]`,
	"[code]%[/code]", "[list]%[*]%[/list]", "[list=%][*]x[/list]",
	"[color=%]x[/color]", "[%]x[/%]", "[b %]x[/b]", "[%", "%[b]%[/b]%",
}

func TestAttacks(t *testing.T) {
	all := attacks(t)
	if len(all) < 150 {
		t.Fatalf("only %d attacks", len(all))
	}
	for _, attack := range all {
		for _, place := range places {
			checkSafe(t, strings.ReplaceAll(place, "%", attack))
		}
	}
}

// TestPolicyAlone checks that the sanitizer is safe even if everything before it lets all
// input through.
func TestPolicyAlone(t *testing.T) {
	if got, want := slices.Sorted(slices.Values(elements)), slices.Sorted(slices.Values(allowed)); !slices.Equal(got, want) {
		t.Errorf("allows %q, want %q", got, want)
	}
	for _, attack := range attacks(t) {
		checkTokens(t, attack, sanitize(attack))
	}
}

func FuzzHTML(f *testing.F) {
	for _, c := range cases {
		f.Add(c.bb)
	}
	for _, attack := range attacks(f) {
		f.Add(attack)
	}
	f.Fuzz(func(t *testing.T, bb string) { checkSafe(t, bb) })
}

// checkSafe checks everything that is promised of any message.
func checkSafe(t *testing.T, bb string) {
	t.Helper()
	got, plain := HTML(bb), Text(bb)

	for _, s := range []string{got, plain} {
		if len(s) > 16*len(bb) {
			t.Errorf("%q: %d bytes became %d", bb, len(bb), len(s))
		}
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unwanted) {
			t.Errorf("%q: bad characters in %q", bb, s)
		}
	}
	if again := sanitize(got); again != got {
		t.Errorf("%q: sanitized once more\n%q becomes\n%q", bb, got, again)
	}
	r := renderer{write: stdhtml.EscapeString}
	if s := strings.ReplaceAll(r.render(parse(clean(bb))), "&amp; ", "& "); s != got {
		t.Errorf("%q: there was something to sanitize\n%q became\n%q", bb, s, got)
	}
	checkTokens(t, bb, got)
	for _, context := range []atom.Atom{atom.Body, atom.Div, atom.Td, atom.Span} {
		checkTree(t, bb, got, plain, context)
	}
}

func unwanted(r rune) bool {
	overrides := r >= 0x202a && unicode.Is(unicode.Bidi_Control, r)
	return overrides || unicode.IsControl(r) && r != '\n' && r != '\t'
}

// checkTokens reads fragment with the tokenizer of a browser. It must consist of text and
// of tags that are allowed and have no attributes.
func checkTokens(t *testing.T, bb, fragment string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(fragment))
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			return
		case html.TextToken:
			continue
		}
		token := z.Token()
		if kind != html.StartTagToken && kind != html.EndTagToken || !slices.Contains(allowed, token.Data) || len(token.Attr) > 0 {
			t.Errorf("%q: %v in %q", bb, token, fragment)
		}
	}
}

// checkTree parses fragment as a browser does inside of context. The tree must be what was
// written, element for element, so that rendering it gives fragment again. It must contain
// only what HTML allows in each place, and its text must be the result of Text.
func checkTree(t *testing.T, bb, fragment, plain string, context atom.Atom) {
	t.Helper()
	parent := &html.Node{Type: html.ElementNode, DataAtom: context, Data: context.String()}
	nodes, err := html.ParseFragment(strings.NewReader(fragment), parent)
	if err != nil {
		t.Fatalf("%q: parse %q: %v", bb, fragment, err)
	}
	var said, rendered strings.Builder
	for _, n := range nodes {
		if err := html.Render(&rendered, n); err != nil {
			t.Fatal(err)
		}
		checkNode(t, bb, n, &said)
	}
	if back := strings.ReplaceAll(rendered.String(), "&amp; ", "& "); back != fragment {
		t.Errorf("%q: inside of %v\n%q is parsed as\n%q", bb, context, fragment, back)
	}
	if got, want := letters(said.String()), letters(plain); got != want {
		t.Errorf("%q: HTML says %q, Text %q", bb, got, want)
	}
}

func checkNode(t *testing.T, bb string, n *html.Node, said *strings.Builder) {
	t.Helper()
	inline := n.Parent != nil && slices.Contains(inlines, n.Parent.Data)
	inList := n.Parent != nil && (n.Parent.Data == "ul" || n.Parent.Data == "ol")
	switch {
	case n.Type == html.TextNode:
		said.WriteString(n.Data)
		if inList && strings.TrimSpace(n.Data) != "" {
			t.Errorf("%q: text %q in a list outside of its items", bb, n.Data)
		}
	case n.Type != html.ElementNode || !slices.Contains(allowed, n.Data) || len(n.Attr) > 0 || n.Namespace != "":
		t.Errorf("%q: not allowed: %+v", bb, n)
	case inList != (n.Data == "li"):
		t.Errorf("%q: %s in %s", bb, n.Data, n.Parent.Data)
	case inline && !slices.Contains(inlines, n.Data):
		t.Errorf("%q: block %s in %s", bb, n.Data, n.Parent.Data)
	}
	for child := range n.ChildNodes() {
		checkNode(t, bb, child, said)
	}
}

// letters removes the characters that mark blocks and items in plain text.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
}
