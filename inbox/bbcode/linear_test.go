package bbcode

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// hostile holds texts that make naive parsers slow when they are repeated.
var hostile = []string{
	"[", "]", "[/", "[b", "[b]", "[/b]", "[b][/b]", "[b][i]x[/b]", "[b]x[/i]",
	"[quote]", "[/quote]", "[quote][list]", "[quote][/list]", "[list][*]", "[*]",
	"[code]", "[/code]", "[code][b]", "[url=", "[url=\"", "[url=https://a.example/]", "[url]", "&", "<b>", "<!--", "\xff", "\r\n",
}

// TestTokens checks what makes parsing linear. The tokens join up to the message, so that
// no byte is in two tokens. Pairing gives each token at most one partner.
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

// TestLinear compares the steps and allocated bytes for eight times the input with those
// for the input itself. Quadratic work would take sixty-four times as much.
func TestLinear(t *testing.T) {
	const size, factor = 8 << 10, 8
	for _, piece := range hostile {
		once := strings.Repeat(piece, size/len(piece))
		more := strings.Repeat(once, factor)
		steps, bytes := work(once)
		if steps == 0 || bytes == 0 {
			t.Fatalf("%q: %d steps and %d bytes are counted", piece, steps, bytes)
		}
		moreSteps, moreBytes := work(more)
		if moreSteps > 2*factor*steps {
			t.Errorf("%q: %d times the input took %d steps after %d", piece, factor, moreSteps, steps)
		}
		if moreBytes > 3*factor*bytes {
			t.Errorf("%q: %d times the input allocated %d bytes after %d", piece, factor, moreBytes, bytes)
		}
	}
}

// work returns the number of steps of HTML and Text, and the bytes that they allocate. No
// other test may run at the same time.
func work(bb string) (steps int, bytes uint64) {
	var before, after runtime.MemStats
	onStep = func(n int) { steps += n }
	defer func() { onStep = nil }()
	runtime.ReadMemStats(&before)
	HTML(bb)
	Text(bb)
	runtime.ReadMemStats(&after)
	return steps, after.TotalAlloc - before.TotalAlloc
}

// BenchmarkLinear measures as time what TestLinear counts. Both sizes should have about the
// same MB/s.
func BenchmarkLinear(b *testing.B) {
	for _, piece := range hostile {
		for _, size := range []int{8 << 10, 64 << 10} {
			bb := strings.Repeat(piece, size/len(piece))
			b.Run(fmt.Sprintf("%q/%dKiB", piece, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(bb)))
				for b.Loop() {
					HTML(bb)
					Text(bb)
				}
			})
		}
	}
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
