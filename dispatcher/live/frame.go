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

// numbers are a user's unread numbers as clients are sent them. The zero value says that
// they are not known.
type numbers struct {
	frame []byte
	// version is userSockets.changes when they arrived with a frame, or before they were
	// counted: it orders arrivals. Numbers that have passed a change on the way are shown for a
	// moment, until the change is counted.
	version int64
}

// A frame is a frame for clients that was made from one of a user's channel or replay log.
// It is used by one goroutine.
type frame struct {
	Seq, Prev int64                    // 0 for frames that are not logged
	message   bool                     // it holds a chat message, whose avatars may be empty
	text      []byte                   // JSON; nil when the frame exists in several languages
	render    func(text.Locale) []byte // returns the JSON in one of several languages
	texts     map[text.Locale][]byte   // what render has returned
}

// In returns the frame in a language, or in the only one that it has. It renders each
// language once.
func (f *frame) In(l text.Locale) []byte {
	if f.render == nil {
		return f.text
	}
	rendered, ok := f.texts[l]
	if !ok {
		rendered = f.render(l)
		if f.texts == nil {
			f.texts = make(map[text.Locale][]byte, 1)
		}
		f.texts[l] = rendered
	}
	return rendered
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
		made.text = content.EventFrame(f.Seq, f.Prev, content.DeletedMembers(f.ID))
	case f.Kind == model.FrameRead:
		made.text = content.ReadFrame([]byte(f.Body))
	case f.Kind == model.FrameMessage:
		members := []byte(f.Body)
		if f.Unreads != nil {
			members = content.FillMessageUnreads(members, f.Unreads)
		}
		made.text, made.message = content.EventFrame(f.Seq, f.Prev, members), true
	case f.Kind == model.FrameEvent:
		return made, b.fillEvent(&made, user, f)
	default:
		return frame{}, fmt.Errorf("unknown kind of frame %q", f.Kind)
	}
	return made, nil
}

// fillEvent makes the frame of a notification. In renders the one that has translations.
func (b *frameBuilder) fillEvent(made *frame, user int64, f model.Frame) error {
	body, err := content.ParseBody([]byte(f.Body))
	if err != nil {
		return fmt.Errorf("body of notification %s: %w", f.ID, err)
	}
	n := content.Notification{ID: f.ID, Receiver: user, Promo: b.types.Spec(body.Type).Promo, Body: body}
	if len(n.Translations) == 0 {
		made.text, err = n.Frame(f.Seq, f.Prev, "", f.Unreads, b.location)
		return err
	}
	if _, err := model.IDTime(n.ID); err != nil {
		return err
	}
	made.render = func(l text.Locale) []byte {
		rendered, _ := n.Frame(f.Seq, f.Prev, l, f.Unreads, b.location) // fails for a malformed id only
		return rendered
	}
	return nil
}
