package bbcode

import "strings"

// maxDepth bounds how deep blocks nest; browsers and HTML parsers give up, each
// in its own way, a few hundred elements down.
const maxDepth = 8

// onStep receives the work of the parser and the renderer, in bytes and tokens examined.
// Only tests set it, to check that the work is linear.
var onStep func(n int)

func step(n int) {
	if onStep != nil {
		onStep(n)
	}
}

// A token is a part of the message: text, or a word in brackets that names a tag.
type token struct {
	source string // as typed
	tag    tag
	end    bool   // [/…]
	paired bool   // has its other half; a tag without it is text
	arg    string // text after "=" in an opening tag; join copies it to the closing one
	opener int    // index: in a closing tag of a pair its opening tag; in an opening tag the previous open one of the same tag
}

// parse splits s and finds the pairs.
func parse(s string) []token {
	tokens := scan(s)
	pair(tokens)
	return tokens
}

// scan splits s into tokens whose sources are s when joined. It reads every byte once: no
// tag contains a "[", so that brackets that are no tag can be skipped as text.
func scan(s string) []token {
	var tokens []token
	begin, at := 0, 0 // where the current text begins, and where to scan on
	for {
		bracket := strings.IndexByte(s[at:], '[')
		if bracket < 0 {
			step(len(s) - at)
			break
		}
		step(bracket + 1)
		at += bracket
		length := strings.IndexAny(s[at+1:], "[]\n") + 1
		if length == 0 {
			step(len(s) - at)
			break
		}
		step(length)
		if s[at+length] != ']' {
			at += length
			continue
		}
		t, ok := read(s[at : at+length+1])
		if ok {
			if begin < at {
				tokens = append(tokens, token{source: s[begin:at]})
			}
			tokens = append(tokens, t)
			begin = at + length + 1
		}
		at += length + 1
	}
	if begin < len(s) {
		tokens = append(tokens, token{source: s[begin:]})
	}
	return tokens
}

// read parses source, a pair of brackets without brackets inside, as a tag. It is not ok
// when there is no such tag.
func read(source string) (t token, ok bool) {
	inner, end := strings.CutPrefix(source[1:len(source)-1], "/")
	name, arg, hasArg := strings.Cut(inner, "=")
	if len(name) > longestName || end && hasArg {
		return token{}, false
	}
	known := names[strings.ToLower(name)]
	return token{source: source, tag: known, end: end, arg: unquote(strings.TrimSpace(arg))}, known != text
}

// unquote strips a pair of quotes around s.
func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

// pair marks the tokens that are halves of a pair. Its work for a token is
// bounded, whatever came before.
func pair(tokens []token) {
	p := pairing{tokens: tokens}
	for i := range p.open {
		p.open[i] = -1
	}
	lastCodeEnd := -1
	for i, t := range tokens {
		step(1)
		if t.tag == code && t.end {
			lastCodeEnd = i
		}
	}
	inCode := -1 // index of the opening tag, -1 outside of code
	for i, t := range tokens {
		step(1)
		switch {
		case inCode >= 0:
			if t.tag == code && t.end {
				p.join(inCode, i)
				inCode = -1
			}
		case t.tag == text || t.tag == item:
		case t.tag == code:
			if !t.end && i < lastCodeEnd { // its closing tag follows
				inCode = i
			}
		case t.tag.isBlock():
			p.block(i)
		default:
			p.inline(i)
		}
	}
}

type pairing struct {
	tokens []token
	open   [tagCount]int // index of the last open tag, -1 without one
	blocks []int         // indexes of open blocks, at most maxDepth
}

func (p *pairing) join(begin, end int) {
	p.tokens[begin].paired = true
	p.tokens[end].paired = true
	p.tokens[end].arg = p.tokens[begin].arg
	p.tokens[end].opener = begin
}

// inline handles a tag whose pairs may overlap those of others.
func (p *pairing) inline(i int) {
	t := &p.tokens[i]
	begin := p.open[t.tag]
	switch {
	case !t.end:
		t.opener = begin
		p.open[t.tag] = i
	case begin >= 0:
		p.open[t.tag] = p.tokens[begin].opener
		p.join(begin, i)
	}
}

// block handles a tag whose pairs nest. Blocks that were opened inside the one that is
// closed, and not closed before it, become text.
func (p *pairing) block(i int) {
	t := &p.tokens[i]
	if !t.end {
		if len(p.blocks) < maxDepth {
			p.blocks = append(p.blocks, i)
		}
		return
	}
	for depth := len(p.blocks) - 1; depth >= 0; depth-- {
		step(1)
		if begin := p.blocks[depth]; p.tokens[begin].tag == t.tag {
			p.blocks = p.blocks[:depth]
			p.join(begin, i)
			return
		}
	}
}
