package dispatcher

import "github.com/kabar-gateway/kabar/dispatcher/text"

// collapsed is what the screen says of a run of messages in one conversation.
func (d *Dispatcher) collapsed(l text.Locale, message, from string, unread int) string {
	if unread < 2 {
		return message
	}
	if from == "" {
		from = d.Texts.Text(l, "somebody", text.Args{})
	}
	return d.Texts.Text(l, "messages", text.Args{Count: unread, From: from})
}
