package bbcode

import (
	"fmt"
	"strings"
	"testing"
)

func ExampleHTML() {
	fmt.Println(HTML("[b]Ready[/b] gan, size [S] [M] <b>saja</b> [jempol]"))
	// Output: <strong>Ready</strong> gan, size [S] [M] &lt;b&gt;saja&lt;/b&gt; [jempol]
}

func ExampleText() {
	fmt.Println(Text("[b]Ready[/b] gan, lihat [url=https://kabar.example/p/1]di sini[/url]"))
	// Output: Ready gan, lihat di sini (https://kabar.example/p/1)
}

var cases = []struct {
	name, bb, html string
	text           string // same as bb when empty
}{
	{name: "nothing"},
	{"words", "ok gan", "ok gan", ""},
	{"line breaks", "a\n\nb\n", "a\n\nb\n", ""},
	{"other line breaks", "a\r\nb\rc\u2028d\u2029e\u0085f", "a\nb\nc\nd\ne\nf", "a\nb\nc\nd\ne\nf"},
	{"emoticons", " [jempol]  [cape de]  [masa si]  :) ", " [jempol]  [cape de]  [masa si]  :) ", ""},
	{"plain link", "https://www.bukalapak.com/p/1-a?b=c", "https://www.bukalapak.com/p/1-a?b=c", ""},
	{"emoji", "👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👨‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", ""},
	{"right to left", "שלום\u200f عليكم", "שלום\u200f عليكم", ""},

	{"the documented sample",
		"Halo Sayur Kangkung,\n\nKami telah memblokir lapakmu untuk barang:\n[b][DT] WIMCYCLE ADRENALINE DH TEAM 2012 - SIZE M[/b]\nSeharga: Rp 125.000\n\nTerima kasih atas perhatian & kerjasama Kamu.\n\n",
		"Halo Sayur Kangkung,\n\nKami telah memblokir lapakmu untuk barang:\n<strong>[DT] WIMCYCLE ADRENALINE DH TEAM 2012 - SIZE M</strong>\nSeharga: Rp 125.000\n\nTerima kasih atas perhatian & kerjasama Kamu.\n\n",
		"Halo Sayur Kangkung,\n\nKami telah memblokir lapakmu untuk barang:\n[DT] WIMCYCLE ADRENALINE DH TEAM 2012 - SIZE M\nSeharga: Rp 125.000\n\nTerima kasih atas perhatian & kerjasama Kamu.\n\n"},

	{"styles", "[b]a[/b][i]b[/i][u]c[/u][s]d[/s]", "<strong>a</strong><em>b</em><u>c</u><s>d</s>", "abcd"},
	{"other names", "[strong]a[/strong][em]b[/em][strike]c[/strike]", "<strong>a</strong><em>b</em><s>c</s>", "abc"},
	{"any case", "[B]a[/b]", "<strong>a</strong>", "a"},
	{"nested", "[b]a[i]b[/i][/b]", "<strong>a<em>b</em></strong>", "ab"},
	{"overlapping", "[b]a[i]b[/b]c[/i]", "<strong>a<em>b</em></strong><em>c</em>", "abc"},
	{"twice the same", "[b]a[b]b[/b]c[/b]d", "<strong>abc</strong>d", "abcd"},
	{"over lines", "[b]a\nb[/b]", "<strong>a\nb</strong>", "a\nb"},
	{"around nothing", "a[b][/b]c", "ac", "ac"},

	{"not begun", "a[/b]", "a[/b]", ""},
	{"not ended", "[b]a", "[b]a", ""},
	{"sizes are no styles", "ready [S] [M] [L] [b]semua[/b]", "ready [S] [M] [L] <strong>semua</strong>", "ready [S] [M] [L] semua"},
	{"unknown", "[sub]a[/sub] [b ]x[/b ]", "[sub]a[/sub] [b ]x[/b ]", ""},
	{"brackets in brackets", "[[b]a[/b]]", "[<strong>a</strong>]", "[a]"},
	{"broken by a line", "[b\n]a[/b]", "[b\n]a[/b]", ""},

	{"code", "[code][b]a[/b] <c>[/code]", "<code>[b]a[/b] &lt;c&gt;</code>", "[b]a[/b] <c>"},
	{"code ends at its first end", "[code][code]a[/code]b[/code]", "<code>[code]a</code>b[/code]", "[code]ab[/code]"},
	{"code not ended", "[code][b]a[/b]", "[code]<strong>a</strong>", "[code]a"},
	{"code not begun", "[/code]a[/code]", "[/code]a[/code]", ""},
	{"code hides a half", "[b][code][/b][/code]", "[b]<code>[/b]</code>", "[b][/b]"},
	{"code in bold", "[b][code]a[/code][/b]", "<strong><code>a</code></strong>", "a"},

	{"quote", "a[quote]b[/quote]c", "a<blockquote>b</blockquote>c", "a\nb\nc"},
	{"quote with a name", `[quote="Me <3"]b[/quote]`, "<blockquote>Me &lt;3:\nb</blockquote>", "Me <3:\nb"},
	{"quote in bold", "[b]a[quote]b[/quote]c[/b]", "<strong>a</strong><blockquote><strong>b</strong></blockquote><strong>c</strong>", "a\nb\nc"},
	{"bold ends in a quote", "[b]a[quote]b[/b]c[/quote]", "<strong>a</strong><blockquote><strong>b</strong>c</blockquote>", "a\nbc"},
	{"blocks that overlap", "[quote]a[list]b[/quote]c[/list]", "<blockquote>a[list]b</blockquote>c[/list]", "a[list]b\nc[/list]"},
	{"quote that begins with a break", "a[quote]\nb[/quote]", "a<blockquote>\nb</blockquote>", "a\nb"},
	{"quote breaks a line once", "a\n[quote]\nb\n[/quote]\nc", "a\n<blockquote>\nb\n</blockquote>\nc", "a\n\nb\n\nc"},

	{"list", "[list]\n[*] a\n[*]b\n[/list]", "<ul>\n<li> a\n</li><li>b\n</li></ul>", "\n- a\n- b\n"},
	{"numbered list", "a[list=1][*]b[*]c[/list]d", "a<ol><li>b</li><li>c</li></ol>d", "a\n- b\n- c\nd"},
	{"list without items", "[list]a[/list]", "<ul><li>a</li></ul>", "- a"},
	{"list in a list", "[list][*]a[list][*]b[/list][*]c[/list]", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>", "- a\n- b\n- c"},
	{"list in no item", "[list][list][*]a[/list][/list]", "<ul><li><ul><li>a</li></ul></li></ul>", "- a"},
	{"quote in a list", "[list][quote]a[/quote][*]b[/list]", "<ul><li><blockquote>a</blockquote></li><li>b</li></ul>", "a\n- b"},
	{"bold over items", "[list][b][*]a[*]b[/b][/list]", "<ul><li><strong>a</strong></li><li><strong>b</strong></li></ul>", "- a\n- b"},
	{"no list", "[*] promo", "[*] promo", ""},
	{"item in a quote in a list", "[list][*]a[quote][*]b[/quote][/list]", "<ul><li>a<blockquote>[*]b</blockquote></li></ul>", "- a\n[*]b"},

	{"link", "[url=https://a.example/b?c=d&e=f]klik[/url].", "klik (https://a.example/b?c=d&amp;e=f).", "klik (https://a.example/b?c=d&e=f)."},
	{"link in quotes", `[url="https://a.example/"]klik[/url]`, "klik (https://a.example/)", "klik (https://a.example/)"},
	{"link to itself", "[url]https://a.example/[/url]", "https://a.example/", "https://a.example/"},
	{"link that says where", "[url=https://a.example/]https://a.example/[/url]", "https://a.example/", "https://a.example/"},
	{"link that lies", "[url=https://evil.example/]https://a.example/[/url]", "https://a.example/ (https://evil.example/)", "https://a.example/ (https://evil.example/)"},
	{"link without words", "[url=https://a.example/][/url]", "https://a.example/", "https://a.example/"},
	{"link with bold words", "[url=HTTP://a.example][b]klik[/b][/url]", "<strong>klik</strong> (HTTP://a.example)", "klik (HTTP://a.example)"},
	{"link to a script", "[url=javascript:alert(1)]klik[/url]", "klik", "klik"},
	{"link to a script with a host", "[url=javascript://a.example/%0aalert(1)]klik[/url]", "klik", "klik"},
	{"link into another app", "[url=intent://a.example/#Intent;scheme=https;end]klik[/url]", "klik", "klik"},
	{"link that is relative", "[url=/p/1]klik[/url]", "klik", "klik"},
	{"link without a host", "[url=https:a.example]klik[/url]", "klik", "klik"},
	{"link with a space", "[url=https://a.example/ b]klik[/url]", "klik", "klik"},
	{"link that is too long", "[url=https://a.example/" + strings.Repeat("a", maxAddress) + "]klik[/url]", "klik", "klik"},
	{"image", "[img]https://a.example/b.png[/img]", "https://a.example/b.png", "https://a.example/b.png"},
	{"image with words", "[img=https://a.example/b.png]foto[/img]", "foto (https://a.example/b.png)", "foto (https://a.example/b.png)"},
	{"image with a size", "[img=20x10]https://a.example/b.png[/img]", "https://a.example/b.png", "https://a.example/b.png"},
	{"dress", "[color=red][size=7][font=x][center]a[/center][/font][/size][/color]", "a", "a"},
	{"dress not ended", "[color=red]a", "[color=red]a", ""},

	{"HTML is text", "<b onclick=x>a</b>", "&lt;b onclick=x&gt;a&lt;/b&gt;", ""},
	{"quotes", `Jum'at "pagi"`, "Jum&#39;at &#34;pagi&#34;", ""},
	{"ampersands", "a & b &amp; c&d &", "a & b &amp;amp; c&amp;d &amp;", ""},
	{"ampersands in bold", "[b]a & b &amp; c&d &[/b]", "<strong>a & b &amp;amp; c&amp;d &amp;</strong>", "a & b &amp; c&d &"},
	{"controls", "a\x00b\x1bc\x7fd\u009be\tf", "abcde\tf", "abcde\tf"},
	{"direction", "a\u202eb\u2066c\u2069\ufeff", "abc", "abc"},
	{"broken UTF-8", "a\xffb\xe2\x80", "a\ufffdb\ufffd\ufffd", "a\ufffdb\ufffd\ufffd"},
	{"controls do not hide a tag", "[\x00b]a[/b]", "<strong>a</strong>", "a"},
}

func TestHTML(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := HTML(c.bb); got != c.html {
				t.Errorf("HTML(%q)\n got %q\nwant %q", c.bb, got, c.html)
			}
			checkSafe(t, c.bb)
		})
	}
}

func TestText(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := c.text
			if want == "" {
				want = c.bb
			}
			if got := Text(c.bb); got != want {
				t.Errorf("Text(%q)\n got %q\nwant %q", c.bb, got, want)
			}
		})
	}
}

// TestDepth checks that blocks nest no deeper than allowed, and that the other tags stay
// text.
func TestDepth(t *testing.T) {
	const depth = 3 * maxDepth
	bb := strings.Repeat("[quote]", depth) + "a" + strings.Repeat("[/quote]", depth)
	got := HTML(bb)
	if n := strings.Count(got, "<blockquote>"); n != maxDepth {
		t.Errorf("%d blocks, want %d", n, maxDepth)
	}
	if n := strings.Count(got, "[quote]"); n != depth-maxDepth {
		t.Errorf("%d tags stayed text, want %d", n, depth-maxDepth)
	}
	checkSafe(t, bb)
}

// TestLongest checks the limit of the length with the messages that grow most.
func TestLongest(t *testing.T) {
	for _, piece := range []string{"[*]\"", "[*]\xff", "[/b]\"[b]\"", "[quote][/quote]", "\"", "\xff"} {
		checkSafe(t, "[list][b][i][u][s]"+strings.Repeat(piece, 100)+"[/s][/u][/i][/b][/list]")
	}
}

// TestConcurrently lets the race detector check concurrent use.
func TestConcurrently(t *testing.T) {
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for _, c := range cases {
				if got := HTML(c.bb); got != c.html {
					t.Errorf("HTML(%q) = %q, want %q", c.bb, got, c.html)
				}
			}
		})
	}
}
