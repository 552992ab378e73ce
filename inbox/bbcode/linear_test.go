package bbcode

import (
	"strings"
	"testing"
	"time"
)

// hostile are what makes naive parsers slow when it is repeated.
var hostile = []string{
	"[", "]", "[/", "[b", "[b]", "[/b]", "[b][/b]", "[b][i]x[/b]", "[b]x[/i]",
	"[quote]", "[/quote]", "[quote][list]", "[quote][/list]", "[list][*]", "[*]",
	"[code]", "[/code]", "[code][b]", "[url=", "[url=\"", "[url=https://a.example/]", "[url]", "&", "<b>", "<!--", "\xff", "\r\n",
}

// TestTokens holds what makes reading linear: tokens join up to the message, so
// that no byte is in two, and pairing leaves each with one partner at most.
func TestTokens(t *testing.T) {
	for _, piece := range append(attacks(t), hostile...) {
		s := clean(strings.Repeat(piece, 50))
		var joined strings.Builder
		partners := make(map[int]bool)
		for i, token := range parse(s) {
			joined.WriteString(token.source)
			if token.paired && token.end {
				if partners[token.opener] || token.opener >= i {
					t.Errorf("%q: token %d is paired with %d", piece, i, token.opener)
				}
				partners[token.opener] = true
			}
		}
		if joined.String() != s {
			t.Errorf("%q: tokens join to %q", piece, joined.String())
		}
	}
}

// TestLinear compares eight times the input with once: quadratic work would take
// sixty-four times as long. Other load on the machine only ever makes a comparison
// look worse, so that one good one out of several is enough.
func TestLinear(t *testing.T) {
	const size, factor, attempts = 8 << 10, 8, 8
	for _, piece := range hostile {
		once := strings.Repeat(piece, size/len(piece))
		more := strings.Repeat(once, factor)
		ratio := 0.0
		for range attempts {
			ratio = float64(elapsed(more)) / float64(elapsed(once))
			if ratio < 3*factor {
				break
			}
		}
		if ratio >= 3*factor {
			t.Errorf("%q: %d times the input took %.0f times as long", piece, factor, ratio)
		}
	}
}

func elapsed(bb string) time.Duration {
	start := time.Now()
	HTML(bb)
	Text(bb)
	return max(time.Since(start), time.Microsecond)
}

func BenchmarkHTML(b *testing.B) {
	for _, c := range []struct{ name, bb string }{
		{"plain", "ok gan, barang ready ya, langsung diorder saja"},
		{"escaped", "Jum'at dikirim gan & resi menyusul"},
		{"emoticon", "siap gan [jempol] ditunggu transfernya"},
		{"bold", "Halo [b]gan[/b],\n\nready stok. Silakan diorder di https://www.bukalapak.com/p/1 ya"},
		{"64KiB/unclosed", strings.Repeat("[b]", 64<<10/3)},
		{"64KiB/pairs", strings.Repeat("[b]x[/b]", 64<<10/8)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.bb)))
			for b.Loop() {
				HTML(c.bb)
			}
		})
	}
}

func BenchmarkText(b *testing.B) {
	bb := "Halo [b]gan[/b],\n\nready stok. Silakan diorder di https://www.bukalapak.com/p/1 ya"
	b.ReportAllocs()
	for b.Loop() {
		Text(bb)
	}
}
