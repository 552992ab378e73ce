package live

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestNewFrame(t *testing.T) {
	t.Parallel()
	h := New(Options{}).frames
	const (
		id    = "52e0b9e37a12000000000000"
		head  = `{"op":"event","seq":8,"prev":7,"event":`
		note  = `,"notification_id":"52e0b9e37a12000000000000"}}`
		items = `{"messages":3,"transactions_need_action_as_seller":0,"transactions_need_action_as_buyer":0,` +
			`"offers_need_action_as_seller":0,"offers_need_action_as_buyer":0}`
		nego = `{"type":"nego","title":null,"message":"halo","details":{"id":1,"unread_items":null}}`
	)
	for name, c := range map[string]struct {
		logged        model.Frame
		want, english string
	}{
		"an event": {
			model.Frame{Kind: model.FrameEvent, Seq: 8, Prev: 7, ID: id, Body: nego},
			head + `{"type":"nego","receiver_id":66,"message":"halo","details":{"id":1,"unread_items":null}` + note, "",
		},
		"an event in two languages, with counts": {
			model.Frame{Kind: model.FrameEvent, Seq: 8, Prev: 7, ID: id, Body: `{"texts":{"en":"hello"},` + nego[1:], Unreads: &model.Unreads{Messages: 3}},
			head + `{"type":"nego","receiver_id":66,"message":"halo","details":{"id":1,"unread_items":` + items + `}` + note,
			head + `{"type":"nego","receiver_id":66,"message":"hello","details":{"id":1,"unread_items":` + items + `}` + note,
		},
		"a promotion": {
			model.Frame{Kind: model.FrameEvent, Seq: 8, Prev: 7, ID: id, Body: `{"type":"discount","title":"t","message":"m","details":{"image_url":null}}`},
			head + `{"id":"52e0b9e37a12000000000000","created_at":"2014-01-23T06:42:43.500Z","read_state":false,` +
				`"type":"discount","title":"t","message":"m","details":{"image_url":null}` + note, "",
		},
		"an event that was deleted": {
			model.Frame{Kind: model.FrameEvent, Seq: 8, Prev: 7, ID: id},
			head + `{"type":"deleted","id":"52e0b9e37a12000000000000"}}`, "",
		},
		"a message": {
			model.Frame{Kind: model.FrameMessage, Seq: 8, Prev: 7, ID: id, Body: `"event":{},"instant_message":{}`},
			head + `{},"instant_message":{}}`, "",
		},
		"a message with counts": {
			model.Frame{
				Kind: model.FrameMessage, Seq: 8, Prev: 7, ID: id, Unreads: &model.Unreads{Messages: 3},
				Body: `"event":{"type":"message","details":{"id":"m","unread_items":null},"notification_id":"m"},"instant_message":{}`,
			},
			head + `{"type":"message","details":{"id":"m","unread_items":` + items + `},"notification_id":"m"},"instant_message":{}}`, "",
		},
		"a message that was deleted": {
			model.Frame{Kind: model.FrameMessage, Seq: 8, Prev: 7, ID: id},
			head + `{"type":"deleted","id":"52e0b9e37a12000000000000"}}`, "",
		},
		"a read receipt": {
			model.Frame{Kind: model.FrameRead, ID: "-", Body: `"conversation_id":"c"`},
			`{"op":"read","conversation_id":"c"}`, "",
		},
	} {
		f, err := h.newFrame(66, c.logged)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.Seq != c.logged.Seq || f.Prev != c.logged.Prev {
			t.Errorf("%s: seq %d, prev %d", name, f.Seq, f.Prev)
		}
		if message := c.logged.Kind == model.FrameMessage && c.logged.Body != ""; f.message != message {
			t.Errorf("%s: message %t", name, f.message)
		}
		if got := string(f.In(text.Indonesian)); got != c.want {
			t.Errorf("%s in Indonesian: %s", name, got)
		}
		if got := string(f.In(text.English)); got != c.want && c.english == "" || c.english != "" && got != c.english {
			t.Errorf("%s in English: %s", name, got)
		}
	}
}

// A frame is rendered once for all sockets of a language, and in no language that no socket has.
func TestFrameIsRenderedOnce(t *testing.T) {
	t.Parallel()
	var rendered []text.Locale
	f := frame{render: func(l text.Locale) []byte {
		rendered = append(rendered, l)
		return []byte(l)
	}}
	for range 3 {
		if got := string(f.In(text.English)); got != string(text.English) {
			t.Error(got)
		}
	}
	if diff := cmp.Diff([]text.Locale{text.English}, rendered); diff != "" {
		t.Error(diff)
	}
}

func TestNewFrameRefuses(t *testing.T) {
	t.Parallel()
	h := New(Options{}).frames
	for name, f := range map[string]model.Frame{
		"a kind that is not known":         {Kind: "dance", Seq: 8, Prev: 7, Body: "{}"},
		"unreads, which have no text":      {Kind: model.FrameUnreads},
		"a body that is no object":         {Kind: model.FrameEvent, Seq: 8, Prev: 7, Body: "@b1"},
		"a translation with an invalid id": {Kind: model.FrameEvent, Seq: 8, Prev: 7, ID: "1", Body: `{"texts":{"en":"hello"},"type":"nego","details":{}}`},
		"a promotion with an invalid id":   {Kind: model.FrameEvent, Seq: 8, Prev: 7, ID: "1", Body: `{"type":"discount","details":{}}`},
	} {
		if made, err := h.newFrame(66, f); err == nil {
			t.Errorf("%s: %s", name, made.text)
		}
	}
}
