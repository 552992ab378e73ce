package live

import (
	"log/slog"
	"strings"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// A router passes what Redis publishes to the sockets of the channel's user. Its
// methods do not wait for sockets.
type router struct {
	users  *registry
	frames *frameBuilder
	counts *countQueue
	log    *slog.Logger
}

// renewed makes a user's sockets read the log: their subscription was renewed, or a frame
// could not be read.
func (r *router) renewed(u *userSockets) {
	u.each((*socket).onRenewal)
	r.counts.add(u)
}

// deliver passes a published message to the sockets of the channel's user.
func (r *router) deliver(channel, payload string) {
	u := r.users.find(channel)
	if u == nil || u.empty() {
		return
	}
	kind, _, _ := strings.Cut(payload, " ")
	switch kind {
	case kindRevoked:
		f, err := model.ParseFrame(payload)
		if err != nil {
			r.log.Error("a frame cannot be parsed", "kind", kind, "error", err)
			return
		}
		u.each(func(s *socket) { s.revoke(f.Seq) })
		return
	case kindTyping, kindPresence:
		_, body, _ := strings.Cut(payload, "\n")
		frame := []byte(`{"op":"` + kind + `",` + body + `}`)
		u.each(func(s *socket) { s.notify(frame) })
		return
	case model.FrameUnreads:
		r.counts.add(u)
		return
	}
	published, err := model.ParseFrame(payload)
	var f frame
	if err == nil {
		f, err = r.frames.newFrame(u.id, published)
	}
	if err != nil {
		r.log.Error("a frame cannot be parsed", "kind", kind, "error", err)
		r.renewed(u) // the log may have it in a form that can be read, or clients learn that they lack it
		return
	}
	if f.Seq == 0 {
		u.each(func(s *socket) { s.notify(f.text) })
		return
	}
	var n numbers
	told := published.Unreads != nil
	if told {
		n = numbers{frame: unreadsFrame(*published.Unreads), version: u.changes.Add(1)}
	}
	u.each(func(s *socket) { told = s.offer(&f, n) && told })
	if !told {
		r.counts.add(u)
	}
}
