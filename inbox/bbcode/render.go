package bbcode

import (
	"slices"
	"strings"
)

// A renderer writes a message. It tracks styles separately from the elements that show
// them: it opens an element when there is text to style, and closes it before anything that
// the element must not contain. So elements nest even where the tags overlap.
type renderer struct {
	plain bool                // no elements
	write func(string) string // escapes text
	out   strings.Builder

	depth  [tagCount]int // how many pairs of a style enclose the next text
	want   []tag         // styles of the next text, the oldest first
	shown  []tag         // styles whose element is open, outermost first
	blocks []block       // open blocks, outermost first
	lead   string        // plain text: the separator before the next text
}

type block struct {
	element string // blockquote, ul, ol
	item    bool   // an li is open
}

func (b block) isList() bool { return b.element != "blockquote" }

func (r *renderer) render(tokens []token) string {
	for i, t := range tokens {
		step(1)
		switch {
		case t.tag == item && !t.end && r.inList():
			r.beginItem()
		case !t.paired:
			r.text(t.source)
		case styles[t.tag] != "":
			r.style(t.tag, t.end)
		case t.tag.isBlock() && t.end:
			r.endBlock()
		case t.tag.isBlock():
			r.beginBlock(t)
		case t.end && (t.tag == link || t.tag == image):
			r.address(t.arg, tokens[t.opener+1:i])
		}
	}
	r.show(nil)
	return r.out.String()
}

func (r *renderer) text(s string) {
	if s == "" {
		return
	}
	step(len(s))
	if r.beforeItems() {
		if strings.Trim(s, " \t\n") == "" {
			r.show(nil)
			r.out.WriteString(s)
			return
		}
		r.beginItem() // a list holds nothing but items
	}
	r.show(r.want)
	r.out.WriteString(r.write(r.led(s)))
}

// led puts r.lead before s, and leaves out a line break or space that would be doubled.
func (r *renderer) led(s string) string {
	lead := r.lead
	r.lead = ""
	if strings.HasSuffix(lead, " ") {
		s = strings.TrimLeft(s, " ")
	}
	written := r.out.String()
	broken := written == "" || strings.HasSuffix(written, "\n") || lead == "\n" && strings.HasPrefix(s, "\n")
	if broken {
		lead = strings.TrimPrefix(lead, "\n")
	}
	return lead + s
}

// address writes the address of a link after its words, unless the words are the address.
func (r *renderer) address(a string, words []token) {
	if !isAddress(a) || len(words) == 1 && words[0].source == a {
		return
	}
	if len(words) == 0 {
		r.text(a)
		return
	}
	r.text(" (" + a + ")")
}

func (r *renderer) style(t tag, end bool) {
	if !end {
		if r.depth[t]++; r.depth[t] == 1 {
			r.want = append(r.want, t)
		}
		return
	}
	if r.depth[t]--; r.depth[t] == 0 {
		step(len(r.want))
		at := slices.Index(r.want, t)
		r.want = slices.Delete(r.want, at, at+1)
	}
}

// show closes and opens elements until exactly those of want are open.
func (r *renderer) show(want []tag) {
	if r.plain {
		return
	}
	same := 0
	for same < len(r.shown) && same < len(want) && r.shown[same] == want[same] {
		same++
	}
	step(max(len(r.shown), len(want)))
	for i := len(r.shown) - 1; i >= same; i-- {
		r.endElement(styles[r.shown[i]])
	}
	for _, t := range want[same:] {
		r.beginElement(styles[t])
	}
	r.shown = append(r.shown[:same], want[same:]...)
}

func (r *renderer) inList() bool {
	return len(r.blocks) > 0 && r.blocks[len(r.blocks)-1].isList()
}

// beforeItems reports whether a list is open that has no item yet.
func (r *renderer) beforeItems() bool {
	return r.inList() && !r.blocks[len(r.blocks)-1].item
}

func (r *renderer) beginBlock(t token) {
	if r.beforeItems() {
		r.beginItem()
	}
	b := block{element: "blockquote"}
	if t.tag == list {
		b.element = "ul"
		if t.arg == "1" {
			b.element = "ol"
		}
	}
	r.show(nil)
	r.beginElement(b.element)
	r.blocks = append(r.blocks, b)
	if r.plain {
		r.lead = "\n"
	}
	if t.tag == quote && t.arg != "" {
		r.text(t.arg + ":\n")
	}
}

func (r *renderer) endBlock() {
	last := len(r.blocks) - 1
	r.show(nil)
	if r.blocks[last].item {
		r.endElement("li")
	}
	r.endElement(r.blocks[last].element)
	r.blocks = r.blocks[:last]
	if r.plain {
		r.lead = "\n"
	}
}

func (r *renderer) beginItem() {
	b := &r.blocks[len(r.blocks)-1]
	r.show(nil)
	if b.item {
		r.endElement("li")
	}
	r.beginElement("li")
	b.item = true
	if r.plain {
		r.lead = "\n- "
	}
}

func (r *renderer) beginElement(name string) {
	if !r.plain {
		r.out.WriteString("<" + name + ">")
	}
}

func (r *renderer) endElement(name string) {
	if !r.plain {
		r.out.WriteString("</" + name + ">")
	}
}
