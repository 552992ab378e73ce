package live

import (
	"context"
	"fmt"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A frame is a frame for clients that was made from one of a user's channel or replay log.
type frame struct {
	Seq, Prev int64  // 0 for frames that are not logged
	Text      []byte // JSON
	// others has the frame in the languages other than Text's, by language.
	others map[text.Locale][]byte
}

// In returns the frame in a language, or Text when it does not have that language.
func (f *frame) In(l text.Locale) []byte {
	if other, ok := f.others[l]; ok {
		return other
	}
	return f.Text
}

// newFrame makes a frame of what a user's channel or log carries.
func (h *Hub) newFrame(user int64, f model.Frame) (frame, error) {
	made := frame{Seq: f.Seq, Prev: f.Prev}
	switch {
	case f.Seq > 0 && f.Body == "":
		made.Text = content.EventFrame(f.Seq, f.Prev, content.DeletedMembers(f.ID))
	case f.Kind == model.FrameRead:
		made.Text = content.ReadFrame([]byte(f.Body))
	case f.Kind == model.FrameMessage:
		made.Text = content.EventFrame(f.Seq, f.Prev, []byte(f.Body))
	case f.Kind == model.FrameEvent:
		return made, h.fillEvent(&made, user, f)
	default:
		return frame{}, fmt.Errorf("unknown kind of frame %q", f.Kind)
	}
	return made, nil
}

// fillEvent renders the frame of a notification, in each language that it has.
func (h *Hub) fillEvent(made *frame, user int64, f model.Frame) error {
	body, err := content.ParseBody([]byte(f.Body))
	if err != nil {
		return fmt.Errorf("body of notification %s: %w", f.ID, err)
	}
	n := content.Notification{ID: f.ID, Receiver: user, Promo: h.Types.Spec(body.Type).Promo, Body: body}
	members, others, err := n.Members(h.Location)
	if err != nil {
		return err
	}
	made.Text = content.EventFrame(f.Seq, f.Prev, members)
	if len(others) == 0 {
		return nil
	}
	made.others = make(map[text.Locale][]byte, len(others))
	for l, members := range others {
		made.others[l] = content.EventFrame(f.Seq, f.Prev, members)
	}
	return nil
}

// readLog returns the frames of a user after a sequence number, and the newest sequence
// number. known is false when the gap is larger than the log.
func (h *Hub) readLog(ctx context.Context, user, since int64) (frames []frame, newest int64, known bool, err error) {
	logged, newest, known, err := h.Channels.Replay(ctx, user, since)
	if err != nil || !known {
		return nil, newest, known, err
	}
	if err := h.fillMessages(ctx, user, logged); err != nil {
		return nil, 0, false, err
	}
	for _, f := range logged {
		made, err := h.newFrame(user, f)
		if err != nil {
			return nil, 0, false, err
		}
		frames = append(frames, made)
	}
	return frames, newest, true, nil
}

// fillMessages fills in the bodies of message frames, to which the log only refers.
func (h *Hub) fillMessages(ctx context.Context, user int64, logged []model.Frame) error {
	var ids []string
	for _, f := range logged {
		if f.Kind == model.FrameMessage {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	members, err := h.Chat.MessageMembers(ctx, user, ids)
	if err != nil {
		return err
	}
	for i, f := range logged {
		if f.Kind == model.FrameMessage {
			logged[i].Body = string(members[f.ID])
		}
	}
	return nil
}
