package provider

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// size measures a content by its number of bytes.
func size(c Content) int {
	n := len(c.Title) + len(c.Body)
	for _, f := range c.Data {
		n += len(f.Name) + len(f.Value)
	}
	return n
}

const transaction = `{"id":52001,"transaction":{"id":52001,"state":"paid","transaction_id":"140123102001","amount":25000,` +
	`"courier":"JNE REG","shipping_id":null,"products":[{"id":"3fbd9","name":"Bantal bibir pink Impor"}],` +
	`"consignee":{"phone":"021-56953410","address":{"street":"Roxy Square"}},` +
	`"buyer":{"id":52357,"name":"Liem Lie Wie","username":"ebenhaezernet"},"actions":["deliver","reject"]},` +
	`"unread_items":{"messages":1}}`

const message = `{"id":"56be34322","inbox_id":"56be34","sender_id":15,"message":"mantab gan, apa kabar","unread_items":{"messages":1}}`

func TestFitCutsDetails(t *testing.T) {
	for _, test := range []struct {
		name, details, want string
		limit               int
	}{
		{"fits", transaction, transaction, len("details") + len(transaction)},
		{
			"one byte too many", transaction,
			`{"id":52001,"transaction":{"id":52001,"state":"paid","transaction_id":"140123102001","amount":25000,"shipping_id":null,` +
				`"buyer":{"id":52357,"name":"Liem Lie Wie","username":"ebenhaezernet"}},"unread_items":{"messages":1},"truncated":true}`,
			len("details") + len(transaction) - 1,
		},
		{"nested away", transaction, `{"id":52001,"unread_items":{"messages":1},"truncated":true}`, 80},
		{"numbers away", transaction, `{"id":52001,"truncated":true}`, 50},
		{"a long text away", message, `{"id":"56be34322","inbox_id":"56be34","sender_id":15,"unread_items":{"messages":1},"truncated":true}`, 110},
		{"the smallest", message, `{"id":"56be34322","truncated":true}`, 0},
		{"no id", `{"product":{"specs":{},"images":["a","b"]},"unread_items":null}`, `{"unread_items":null,"truncated":true}`, 50},
		{"what is no name", `{"id":"` + strings.Repeat("x", 300) + `","state":"paid","name":"` + strings.Repeat("y", 300) + `"}`, `{"state":"paid","truncated":true}`, 300},
		{"marked before", `{"truncated":false,"id":1,"list":[1,2,3,4,5,6,7,8,9]}`, `{"id":1,"truncated":true}`, 40},
		{"empty", `{}`, `{"truncated":true}`, 0},
		{"not an object", `["a","b"]`, `["a","b"]`, 0},
		{"null", `null`, `null`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := []push.Field{{Name: "details", Value: json.RawMessage(test.details)}}
			got := Fit(Content{Data: data}, test.limit, size)
			if string(got.Data[0].Value) != test.want {
				t.Errorf("got  %s\nwant %s", got.Data[0].Value, test.want)
			}
			if string(data[0].Value) != test.details {
				t.Errorf("the caller's data became %s", data[0].Value)
			}
		})
	}
}

func TestFitCutsTextsLast(t *testing.T) {
	text := strings.Repeat("kabar 👨‍👩‍👧‍👦 ", 100)
	quoted, _ := json.Marshal(text)
	c := Content{
		Data: []push.Field{
			{Name: "type", Value: json.RawMessage(`"message"`)},
			{Name: "title", Value: json.RawMessage(`"Pesan"`)},
			{Name: "message", Value: quoted},
			{Name: "details", Value: json.RawMessage(message)},
			{Name: "notification_id", Value: json.RawMessage(`"56be34322"`)},
		},
		Title: "Pesan", Body: text,
	}
	for limit := 200; limit < size(c); limit += 97 {
		got := Fit(c, limit, size)
		if n := size(got); n > limit || n < limit-100 && limit < size(c)-600 {
			t.Errorf("limit %d: %d bytes", limit, n)
		}
		var cut string
		if err := json.Unmarshal(got.Data[2].Value, &cut); err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{cut, got.Body} {
			kept, _ := strings.CutSuffix(s, "…")
			if !strings.HasPrefix(text, kept) || strings.HasSuffix(kept, "\u200d") || !utf8.ValidString(s) {
				t.Errorf("limit %d: %q", limit, s)
			}
		}
		if got.Title != "Pesan" || string(got.Data[0].Value) != `"message"` || string(got.Data[4].Value) != `"56be34322"` {
			t.Errorf("limit %d: title %q, type %s, id %s", limit, got.Title, got.Data[0].Value, got.Data[4].Value)
		}
	}
}

// For every limit the result is valid JSON, and a lower limit never gives a larger result.
func TestFitIsMonotonic(t *testing.T) {
	c := Content{Data: []push.Field{{Name: "details", Value: json.RawMessage(transaction)}}, Body: "Transaksi baru dari Liem Lie Wie"}
	last := 0
	for limit := range size(c) + 1 {
		got := Fit(c, limit, size)
		if !json.Valid(got.Data[0].Value) {
			t.Fatalf("limit %d: %s", limit, got.Data[0].Value)
		}
		n := size(got)
		if n < last || n > limit && n != last && last != 0 {
			t.Fatalf("limit %d: %d bytes after %d", limit, n, last)
		}
		last = n
	}
	if last != size(c) {
		t.Errorf("what fits was cut to %d of %d bytes", last, size(c))
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		s     string
		limit int
		want  string
	}{
		{"kabar", 5, "kabar"},
		{"kabar", 4, "k…"},
		{"kabar", 3, "…"},
		{"kabar", 0, "…"},
		{"", 0, ""},
		{"日本語です", 10, "日本…"},
		{"cafe\u0301 baru", 7, "caf…"},           // the accent is a separate rune
		{"ok 🇮🇩🇮🇩 x", 15, "ok 🇮🇩…"},              // a flag has two runes
		{"👨‍👩‍👧‍👦 x y z", 20, "…"},               // a family has seven runes
		{"a👍🏽bcdef", 13, "a👍🏽b…"},                // a skin tone adds a rune
		{"\xff\xfe\xfd\xfc", 3, "…"},             // invalid UTF-8
		{"baris satu\r\ndua", 14, "baris satu…"}, // CRLF counts as one character
	} {
		if got := Cut(test.s, test.limit); got != test.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", test.s, test.limit, got, test.want)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "kabar", `a "b" \c`, "tab\t", "<b>&", "\u2028", "日本 👍", "\x00"} {
		got := AppendString([]byte("x"), s)
		var back string
		if err := json.Unmarshal(got[1:], &back); err != nil || back != s {
			t.Errorf("%q became %s: %v", s, got, err)
		}
	}
	if got := string(AppendString(nil, "a\xffb<")); got != `"a�b<"` {
		t.Errorf("invalid UTF-8 became %s", got)
	}
}

// Content that fits must cost nothing, because it is the common case.
func BenchmarkFitWhatFits(b *testing.B) {
	c := Content{Data: []push.Field{{Name: "details", Value: json.RawMessage(transaction)}}}
	b.ReportAllocs()
	for b.Loop() {
		Fit(c, 4096, size)
	}
}

func ExampleFit() {
	details := json.RawMessage(`{"id":7,"product":{"id":"h","name":"Sony","images":["https://example.com/1.jpg"]}}`)
	c := Content{Data: []push.Field{{Name: "details", Value: details}}}
	c = Fit(c, 80, size)
	fmt.Printf("%s\n", c.Data[0].Value)
	// Output: {"id":7,"product":{"id":"h","name":"Sony"},"truncated":true}
}

// Cutting content that is far too large has a bounded cost.
func BenchmarkFitWhatDoesNot(b *testing.B) {
	text := strings.Repeat("kabar 👨‍👩‍👧‍👦 ", 64<<10/32)
	quoted, _ := json.Marshal(text)
	c := Content{Body: text, Data: []push.Field{
		{Name: "message", Value: quoted},
		{Name: "details", Value: json.RawMessage(`{"id":7,"text":` + string(quoted) + `,"transaction":` + transaction + `}`)},
	}}
	b.ReportAllocs()
	for b.Loop() {
		Fit(c, 4096, size)
	}
}

// The presentation is cut after the details and most of the texts: first the image, then the
// subtitle and the target, then the link.
func TestFitCutsThePresentationLast(t *testing.T) {
	quoted, _ := json.Marshal(strings.Repeat("kabar ", 200))
	c := Content{
		Data: []push.Field{
			{Name: "message", Value: quoted},
			{Name: "details", Value: json.RawMessage(message)},
			{Name: push.FieldImage, Value: json.RawMessage(`"` + strings.Repeat("i", 300) + `"`)},
			{Name: push.FieldLink, Value: json.RawMessage(`"` + strings.Repeat("l", 300) + `"`)},
		},
		Presentation: push.Presentation{
			Image: strings.Repeat("i", 300), Link: strings.Repeat("l", 300), Sound: "chime",
			Android: push.Android{Channel: "money"},
			APNs:    push.APNs{Subtitle: strings.Repeat("s", 100), TargetContentID: strings.Repeat("t", 100)},
		},
	}
	all := func(c Content) int {
		return size(c) + len(c.Presentation.Image) + len(c.Presentation.APNs.Subtitle) + len(c.Presentation.APNs.TargetContentID)
	}
	parts := func(c Content) (image, subtitle, link bool) {
		return c.Presentation.Image != "", c.Presentation.APNs.Subtitle != "", c.Presentation.Link != ""
	}
	seen := make(map[int]bool) // by the number of parts that are left
	for limit := all(c); limit >= 50; limit-- {
		got := Fit(c, limit, all)
		image, subtitle, link := parts(got)
		left := 0
		for _, part := range []bool{image, subtitle, link} {
			if part {
				left++
			}
		}
		seen[left] = true
		if image && !subtitle || subtitle && !link || subtitle != (got.Presentation.APNs.TargetContentID != "") ||
			image != hasField(got, push.FieldImage) || link != hasField(got, push.FieldLink) {
			t.Fatalf("limit %d: %+v", limit, got)
		}
		if left < 3 && limit > 200 && !strings.Contains(string(got.Data[1].Value), "truncated") {
			t.Fatalf("limit %d: the details are whole", limit)
		}
		if left > 0 && len(got.Data[0].Value) < minText-len("kabar ") {
			t.Fatalf("limit %d: the presentation stays, and of the text %s", limit, got.Data[0].Value)
		}
		if got.Presentation.Sound != "chime" || got.Presentation.Android.Channel != "money" {
			t.Fatalf("limit %d: %+v", limit, got.Presentation)
		}
	}
	if len(seen) != 4 {
		t.Errorf("parts that were left: %v", seen)
	}
}

func hasField(c Content, name string) bool {
	for _, f := range c.Data {
		if f.Name == name {
			return true
		}
	}
	return false
}
