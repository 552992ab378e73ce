package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The documented texts of the notification endpoints, by id.
const (
	textRead    = "api.notification.read"
	textNotRead = "api.notification.not_read"
)

// Bounds of list.json.
const (
	presetPerPage = 10
	maxPerPage    = 100
	maxTypes      = 32
)

// notifications serves the endpoints of notifications.
type notifications struct {
	notifications Notifications
	counters      Counters
	publisher     Publisher
	language      *language
	location      *time.Location
	types         *event.Types
	promo         []string // the types that list.json shows unless told
}

// unreads: GET /v2/notifications/unreads.json
func (ns *notifications) unreads(r *http.Request, user int64) (reply, error) {
	n, err := ns.counters.Unreads(r.Context(), user)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, body: content.UnreadsJSON(n), tagged: true}, nil
}

// list: GET /v2/notifications/list.json
func (ns *notifications) list(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	page := in.number("page", 1)
	perPage := min(in.number("per_page", presetPerPage), maxPerPage)
	types := in.names("type")
	if len(types) > maxTypes {
		in.reject("type", fmt.Sprintf("must name at most %d types", maxTypes))
	}
	if err := in.err(); err != nil {
		return reply{}, err
	}
	if len(types) == 0 {
		types = ns.promo
	}
	notes, err := ns.notifications.List(r.Context(), user, types, (page-1)*perPage, perPage)
	if err != nil {
		return reply{}, err
	}
	locale := text.Accepted(r.Header.Get("Accept-Language"))
	if locale == "" && slices.ContainsFunc(notes, func(n inbox.Notification) bool { return content.HasTranslations(n.Body) }) {
		if locale, err = ns.publisher.LocaleOf(r.Context(), user, ""); err != nil {
			return reply{}, err
		}
	}
	var unreads model.Unreads
	if slices.ContainsFunc(notes, ns.showsUnreads) {
		if unreads, err = ns.counters.Unreads(r.Context(), user); err != nil {
			return reply{}, err
		}
	}
	return reply{status: http.StatusOK, body: ns.appendList(nil, notes, locale, &unreads), tagged: true}, nil
}

// showsUnreads reports whether a notification shows the receiver's unread counts, as its
// push does: promotions do not.
func (ns *notifications) showsUnreads(n inbox.Notification) bool { return !ns.types.Spec(n.Type).Promo }

// appendList writes the answer of list.json. The members of stored bodies are copied as
// they are, in one language.
func (ns *notifications) appendList(b []byte, notes []inbox.Notification, locale text.Locale, unreads *model.Unreads) []byte {
	b = append(b, `{"status":"OK","data":[`...)
	for i, n := range notes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = append(b, n.ID...)
		b = append(b, `","created_at":"`...)
		b = n.CreatedAt.In(ns.location).AppendFormat(b, content.TimeLayout)
		b = append(b, `","read_state":`...)
		b = strconv.AppendBool(b, n.Read)
		b = append(b, ',')
		shown := unreads
		if !ns.showsUnreads(n) {
			shown = nil
		}
		b = append(content.AppendMembers(b, n.Body, n.Type, locale, shown), '}')
	}
	return append(b, "]}"...)
}

// readAll: PATCH /v2/notifications.json
func (ns *notifications) readAll(r *http.Request, user int64) (reply, error) {
	if err := ns.notifications.MarkAllRead(r.Context(), user); err != nil {
		return reply{}, err
	}
	return ok(done{Status: "OK"})
}

// read: PATCH /v2/notifications/:id.json
func (ns *notifications) read(r *http.Request, user int64) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	unread, err := ns.notifications.MarkRead(r.Context(), user, id)
	if errors.Is(err, inbox.ErrNotFound) {
		return reply{}, &failure{code: notFound, text: textNotRead, also: map[string]any{"unread": unread}}
	}
	if err != nil {
		return reply{}, err
	}
	return ok(struct {
		Status  string `json:"status"`
		Unread  int    `json:"unread"`
		Message string `json:"message"`
	}{"OK", unread, ns.language.word(r, user, textRead)})
}
