package dispatcher

import (
	"context"
	"fmt"
	"strconv"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A Frame is one frame of the websocket protocol kabar.v1 from the server.
type Frame struct {
	Kind      string // one of inbox' kinds of frames
	Seq, Prev int64  // 0 for frames that are not replayed
	Text      []byte // JSON; empty for inbox.FrameUnreads, which UnreadsFrame makes
	// others are the frame in the languages that it has beside that of Text.
	others map[text.Locale][]byte
}

// In returns the frame's text in a language, or in the preset one where it has no
// words of Kabar's.
func (f *Frame) In(l text.Locale) []byte {
	if other, ok := f.others[l]; ok {
		return other
	}
	return f.Text
}

// ParseFrame makes a frame of what a user's channel carries.
func (d *Dispatcher) ParseFrame(user int64, payload string) (Frame, error) {
	f, err := inbox.ParseFrame(payload)
	if err != nil {
		return Frame{}, err
	}
	return d.frame(user, f)
}

func (d *Dispatcher) frame(user int64, f inbox.Frame) (Frame, error) {
	frame := Frame{Kind: f.Kind, Seq: f.Seq, Prev: f.Prev}
	if f.Seq > 0 && f.Body == "" {
		// Deleted since it was logged; the chain of numbers stays whole.
		frame.Text = numbered(f, fmt.Sprintf(`"event":{"type":"deleted","id":%q}`, f.ID))
		return frame, nil
	}
	switch f.Kind {
	case inbox.FrameUnreads:
		return frame, nil
	case inbox.FrameRead:
		frame.Text = []byte(`{"op":"read",` + f.Body + `}`)
		return frame, nil
	case inbox.FrameMessage:
		frame.Text = numbered(f, f.Body)
		return frame, nil
	case inbox.FrameEvent:
		err := d.eventFrame(&frame, user, f)
		return frame, err
	}
	return Frame{}, fmt.Errorf("unknown kind of frame %q", f.Kind)
}

// numbered returns an event frame.
func numbered(f inbox.Frame, members string) []byte {
	return fmt.Appendf(nil, `{"op":"event","seq":%d,"prev":%d,%s}`, f.Seq, f.Prev, members)
}

// eventFrame makes the frame of a notification, in each language that it has.
func (d *Dispatcher) eventFrame(frame *Frame, user int64, f inbox.Frame) error {
	b, err := readBody([]byte(f.Body))
	if err != nil {
		return fmt.Errorf("body of notification %s: %w", f.ID, err)
	}
	event, err := d.eventJSON(user, f.ID, b)
	if err != nil {
		return err
	}
	frame.Text = numbered(f, `"event":`+string(event))
	if len(b.others) == 0 {
		return nil
	}
	frame.others = make(map[text.Locale][]byte, len(text.Locales))
	for _, l := range text.Locales {
		other := b
		if other.message = b.in(l); other.message == b.message {
			continue
		}
		if event, err = d.eventJSON(user, f.ID, other); err != nil {
			return err
		}
		frame.others[l] = numbered(f, `"event":`+string(event))
	}
	return nil
}

// eventJSON is what a push's data says of a notification, as one object. The
// receiver's numbers come in frames of their own.
func (d *Dispatcher) eventJSON(user int64, id string, b content) ([]byte, error) {
	k := d.parser.kinds[b.kind]
	e := &entry{User: user, ID: id, Type: b.kind}
	var fields []push.Field
	var err error
	if k.promo {
		fields, err = d.data(e, k, b, model.Unreads{})
	} else {
		fields = []push.Field{
			{Name: "type", Value: jsonscan.AppendString(nil, b.kind)}, {Name: "receiver_id", Value: strconv.AppendInt(nil, user, 10)},
			{Name: "message", Value: jsonscan.AppendString(nil, b.message)}, {Name: "details", Value: []byte(b.details)},
		}
	}
	if err != nil {
		return nil, err
	}
	return object(fields), nil
}

// object writes fields as one JSON object.
func object(fields []push.Field) []byte {
	b := []byte{'{'}
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

// UnreadsJSON is a user's numbers as unreads.json shows them.
func UnreadsJSON(u model.Unreads) []byte {
	return fmt.Appendf(nil, `{"messages":%d,"transactions_need_action_as_seller":%d,"transactions_as_buyer":%d,`+
		`"unread_notifications":%d,"transactions_need_action_as_buyer":%d,"cart_items":%d}`,
		u.Messages, u.SellerTransactions, u.TransactionNews, u.Notifications, u.BuyerTransactions, u.CartItems)
}

// Replay returns the frames of a user after a sequence number and the newest one.
// known is false when the gap is larger than the log.
func (d *Dispatcher) Replay(ctx context.Context, user, since int64) (frames []Frame, newest int64, known bool, err error) {
	logged, newest, known, err := d.Inbox.Replay(ctx, user, since)
	if err != nil || !known {
		return nil, newest, known, err
	}
	if err := d.fillMessages(ctx, user, logged); err != nil {
		return nil, 0, false, err
	}
	for _, f := range logged {
		frame, err := d.frame(user, f)
		if err != nil {
			return nil, 0, false, err
		}
		frames = append(frames, frame)
	}
	return frames, newest, true, nil
}
