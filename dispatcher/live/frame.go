package live

import (
	"fmt"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Kinds of published frames, in addition to those of package inbox. They are not
// logged.
const (
	kindTyping   = "typing"   // its body holds the members after op
	kindPresence = "presence" // likewise
	kindRevoked  = "revoked"  // closes the user's sockets; its seq is the time of the revocation, Unix µs
)

// helloFrame returns the first frame of a socket.
func helloFrame(seq int64, u model.Unreads, o *Options) []byte {
	return fmt.Appendf(nil, `{"op":"hello","seq":%d,"unreads":%s,"ping_interval":%d,"max_frame":%d}`,
		seq, content.UnreadsJSON(u), int(o.PingInterval.Seconds()), o.MaxFrame)
}

func unreadsFrame(u model.Unreads) []byte {
	return fmt.Appendf(nil, `{"op":"unreads","unreads":%s}`, content.UnreadsJSON(u))
}

// A frame is a frame for clients that was made from one of a user's channel or replay log.
type frame struct {
	Seq, Prev int64  // 0 for frames that are not logged
	Text      []byte // JSON
	message   bool   // it holds a chat message, whose avatars may be empty
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

// A frameBuilder makes the frames for clients.
type frameBuilder struct {
	types    *event.Types
	location *time.Location // of the times in frames
}

// newFrame makes a frame of what a user's channel or log carries.
func (b *frameBuilder) newFrame(user int64, f model.Frame) (frame, error) {
	made := frame{Seq: f.Seq, Prev: f.Prev}
	switch {
	case f.Seq > 0 && f.Body == "":
		made.Text = content.EventFrame(f.Seq, f.Prev, content.DeletedMembers(f.ID))
	case f.Kind == model.FrameRead:
		made.Text = content.ReadFrame([]byte(f.Body))
	case f.Kind == model.FrameMessage:
		members := []byte(f.Body)
		if f.Unreads != nil {
			members = content.FillMessageUnreads(members, f.Unreads)
		}
		made.Text, made.message = content.EventFrame(f.Seq, f.Prev, members), true
	case f.Kind == model.FrameEvent:
		return made, b.fillEvent(&made, user, f)
	default:
		return frame{}, fmt.Errorf("unknown kind of frame %q", f.Kind)
	}
	return made, nil
}

// fillEvent renders the frame of a notification, in each language that it has.
func (b *frameBuilder) fillEvent(made *frame, user int64, f model.Frame) error {
	body, err := content.ParseBody([]byte(f.Body))
	if err != nil {
		return fmt.Errorf("body of notification %s: %w", f.ID, err)
	}
	n := content.Notification{ID: f.ID, Receiver: user, Promo: b.types.Spec(body.Type).Promo, Body: body}
	members, others, err := n.Members(f.Unreads, b.location)
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
