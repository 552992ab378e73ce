package content

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	// translationsKey begins a stored body that holds its message in other languages.
	translationsKey = `{"texts":`
	// presentationKey begins a stored body that holds the presentation of its push, and no
	// translations.
	presentationKey = `{"push":`
	// noUnreadItems ends the details of a stored body. The receiver's counts replace
	// the null when the push is sent.
	noUnreadItems = `"unread_items":null}`
)

// A Body is the content of a notification, without its id and receiver.
type Body struct {
	Type    string
	Title   *string // nil: none
	Message string
	// Translations is a JSON object by language: the message in the languages that
	// Message is not in. It is empty when a service worded the message.
	Translations jsontext.Value
	// Details is a JSON object. Its member unread_items is not stored.
	Details      jsontext.Value
	Presentation push.Presentation
}

// Stored returns the body as the inbox stores it: an object of type, title, message and
// details. The translations and the presentation, which no client is shown, come first.
func (b *Body) Stored() []byte {
	presentation := b.Presentation.JSON()
	out := make([]byte, 0, len(b.Translations)+len(presentation)+len(b.Details)+len(b.Message)+128)
	out = append(out, '{')
	if len(b.Translations) > 0 {
		out = append(append(out, translationsKey[1:]...), b.Translations...)
		out = append(out, ',')
	}
	if len(presentation) > 0 {
		out = append(append(out, presentationKey[1:]...), presentation...)
		out = append(out, ',')
	}
	out = b.appendMembers(out)
	return append(out, '}')
}

// appendMembers appends the members that clients are shown, without braces.
func (b *Body) appendMembers(out []byte) []byte {
	out = append(out, `"type":`...)
	out = jsonscan.AppendString(out, b.Type)
	out = append(out, `,"title":`...)
	out = append(out, b.titleJSON()...)
	out = append(out, `,"message":`...)
	out = jsonscan.AppendString(out, b.Message)
	out = append(out, `,"details":`...)
	return appendDetails(out, b.Details)
}

func (b *Body) titleJSON() []byte {
	if b.Title == nil {
		return []byte("null")
	}
	return jsonscan.AppendString(nil, *b.Title)
}

// appendDetails appends details with the member unread_items as their last one.
func appendDetails(out []byte, details jsontext.Value) []byte {
	if bytes.HasSuffix(details, []byte(noUnreadItems)) {
		return append(out, details...)
	}
	open := bytes.TrimSuffix(details, []byte{'}'})
	out = append(out, open...)
	if len(open) > 1 { // more than the brace
		out = append(out, ',')
	}
	return append(out, noUnreadItems...)
}

// ParseBody reads a stored body. The slices point into it.
func ParseBody(stored []byte) (b Body, err error) {
	var presentation jsontext.Value
	err = jsonscan.EachMember(stored, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "type":
			b.Type, _ = jsonscan.Scalar(m.Value)
		case "title":
			if title, ok := jsonscan.Scalar(m.Value); ok {
				b.Title = &title
			}
		case "message":
			b.Message, _ = jsonscan.Scalar(m.Value)
		case "details":
			b.Details = m.Value
		case "texts":
			b.Translations = m.Value
		case "push":
			presentation = m.Value
		}
	})
	if err == nil {
		b.Presentation, err = push.ParsePresentation(presentation)
	}
	return b, err
}

// In returns the body with its message in a language, or unchanged without a translation.
func (b Body) In(l text.Locale) Body {
	if len(b.Translations) > 0 {
		_ = jsonscan.EachMember(b.Translations, func(m jsonscan.Member) { // Stored wrote an object
			if string(m.Name()) == string(l) {
				b.Message, _ = jsonscan.Scalar(m.Value)
			}
		})
	}
	return b
}

// HasTranslations reports whether a stored body holds its message in several languages.
func HasTranslations(stored []byte) bool { return bytes.HasPrefix(stored, []byte(translationsKey)) }

// AppendMembers appends the members of a stored body that clients are shown (type, title,
// message, details), without braces. The message is in the given language if the body has
// it. unread_items of the details are the receiver's unread counts, in the form that they
// have in a push of the event type; without counts, as for promotions, they are null.
func AppendMembers(dst, stored []byte, eventType string, l text.Locale, unreads *model.Unreads) []byte {
	dst = appendShown(dst, stored, l)
	if unreads == nil {
		return dst
	}
	counted, ok := bytes.CutSuffix(dst, []byte(noUnreadItems))
	if !ok {
		return dst
	}
	counted = append(counted, `"unread_items":`...)
	return append(append(counted, unreadItems(eventType, unreads)...), '}')
}

func appendShown(dst, stored []byte, l text.Locale) []byte {
	if !HasTranslations(stored) && !bytes.HasPrefix(stored, []byte(presentationKey)) {
		return append(dst, stored[1:len(stored)-1]...)
	}
	b, err := ParseBody(stored)
	if err != nil {
		return append(dst, stored[1:len(stored)-1]...) // Stored writes objects; a test holds it to that
	}
	b = b.In(l)
	return b.appendMembers(dst)
}

// appendObject appends fields as one JSON object.
func appendObject(b []byte, fields []push.Field) []byte {
	b = append(b, '{')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonscan.AppendString(b, f.Name)
		b = append(b, ':')
		b = append(b, f.Value...)
	}
	return append(b, '}')
}
