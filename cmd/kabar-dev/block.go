package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const (
	columns   = 79 // of a block
	bodyLines = 4  // of the text on a lock screen
	factLines = 4  // of a fact
)

var platformNames = map[devices.Platform]string{devices.Android: "Android", devices.IOS: "iOS", devices.Web: "browser"}

// block draws an arrival: the lock screen of the phone, unless the push is silent, and the
// facts below it.
func (p paint) block(a arrival) string {
	m := readMessage(a.push)
	heading := clean(fmt.Sprintf("%s  %s (%s) of %s", a.push.At.Local().Format("15:04:05"),
		cmp.Or(phoneName(a.phone), "phone"), platformNames[a.phone.Platform], cmp.Or(a.owner, "nobody")))
	var b strings.Builder
	switch problem := refusal(m.provider, a.push); {
	case problem != "":
		fmt.Fprintf(&b, "%s\n  %s\n", heading, p.red("did not arrive: "+problem))
		return b.String()
	case m.silent:
		fmt.Fprintf(&b, "%s\n  %s\n", heading, silence(a.push, m))
	default:
		p.lockScreen(&b, heading, m)
	}
	p.facts(&b, m)
	return b.String()
}

// refusal says why a push did not reach its phone; "" when it did.
func refusal(provider string, push *sandbox.Push) string {
	switch {
	case push.Answer == 0:
		return provider + " gave no answer before the connection ended"
	case push.Reason != "":
		return fmt.Sprintf("%s answered %d %s", provider, push.Answer, push.Reason)
	}
	return ""
}

// silence says what a push does that shows nothing.
func silence(push *sandbox.Push, m message) string {
	switch {
	case len(push.Read()) > 0:
		return "takes down what was read elsewhere"
	case m.badge != nil && !slices.ContainsFunc(m.facts, func(f fact) bool { return f.name == "data" && f.value != "" }):
		return "nothing on the screen: the badge alone"
	}
	return "nothing on the screen: data for the app alone"
}

// lockScreen draws what appears on the phone.
func (p paint) lockScreen(b *strings.Builder, heading string, m message) {
	const inner = columns - 4 // without the frame
	heading = shorten(heading, inner-2)
	fill := strings.Repeat("─", columns-5-uniseg.StringWidth(heading))
	fmt.Fprintf(b, "%s %s %s\n", p.cyan("╭─"), heading, p.cyan(fill+"╮"))
	line := func(text string, style func(string) string) {
		space := strings.Repeat(" ", inner-uniseg.StringWidth(text))
		fmt.Fprintf(b, "%s %s%s %s\n", p.cyan("│"), style(text), space, p.cyan("│"))
	}
	for _, l := range wrap(m.title, inner, 1) {
		line(l, p.bold)
	}
	plain := func(s string) string { return s }
	for _, l := range wrap(m.body, inner, bodyLines) {
		line(l, plain)
	}
	fmt.Fprintln(b, p.cyan("╰"+strings.Repeat("─", columns-2)+"╯"))
}

// facts lists the facts of a push in columns of name and value.
func (p paint) facts(b *strings.Builder, m message) {
	for _, f := range m.facts {
		for _, l := range wrap(f.value, columns-len("  unread_items  "), factLines) {
			fmt.Fprintln(b, p.dim(fmt.Sprintf("  %-12s  %s", f.name, l)))
			f.name = "" // on the first line alone
		}
	}
}
