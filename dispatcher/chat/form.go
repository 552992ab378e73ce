package chat

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A Form is a message as a client sent it, over HTTP or a socket.
type Form struct {
	Receiver, Category, Body Field // required
	ClientID, Product        Field
}

// A Field is one value of a Form.
type Field struct {
	// Text is the value, or "" when there is none.
	Text string
	// Problem says why the value could not be read as a text, or is "". It continues a
	// sentence that begins with the field's name.
	Problem string
}

// JSONField reads a field from JSON: a string or a number, since clients send each in place
// of the other. null and an empty value are no value.
func JSONField(v jsontext.Value) Field {
	if jsonscan.Absent(v) {
		return Field{}
	}
	s, ok := jsonscan.Scalar(v)
	if !ok {
		return Field{Problem: "must be a string"}
	}
	return Field{Text: s}
}

// Parse reads the message. The error is an *event.InvalidError by the documented names of
// the fields; the fields that could be read are returned beside it. Send checks the bounds.
func (f *Form) Parse() (OutgoingMessage, error) {
	v := &event.Validator{}
	m := OutgoingMessage{
		Body:     require(v, "body_bb", f.Body),
		ClientID: read(v, "client_id", f.ClientID),
		Product:  read(v, "product_id", f.Product),
	}
	var err error
	if receiver := require(v, "receiver_id", f.Receiver); receiver != "" {
		if m.Receiver, err = model.ParseUser(receiver); err != nil {
			v.Wrong("receiver_id", err.Error())
		}
	}
	if category := require(v, "category", f.Category); category != "" {
		if m.Category, err = strconv.Atoi(category); err != nil {
			v.Wrong("category", "must be a number")
		}
	}
	return m, v.Err()
}

// read returns a field's value, or "" and notes the problem.
func read(v *event.Validator, name string, f Field) string {
	if f.Problem != "" {
		v.Wrong(name, f.Problem)
		return ""
	}
	return f.Text
}

// require is read for a field that must have a value.
func require(v *event.Validator, name string, f Field) string {
	value := read(v, name, f)
	if value == "" {
		v.Wrong(name, "is required")
	}
	return value
}
