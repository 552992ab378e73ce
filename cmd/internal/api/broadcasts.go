package api

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/broadcast"
	"github.com/kabar-gateway/kabar/dispatcher/receipt"
)

// broadcasts serves the endpoints of broadcasts.
type broadcasts struct {
	broadcasts Broadcasts
	location   *time.Location
}

// startBroadcast: POST /v2/broadcasts.json
func (bs *broadcasts) startBroadcast(r *http.Request, s *Service) (reply, error) {
	body, err := readBody(r)
	if err != nil {
		return reply{}, err
	}
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return reply{}, bodyProblem(invalid, "must hold a broadcast")
	}
	switch media, _, err := mediaType(r); {
	case err != nil:
		return reply{}, err
	case media != typeJSON && media != "":
		return reply{}, unsupported(typeJSON)
	}
	b, err := bs.broadcasts.Parse(body)
	if err != nil {
		return reply{}, withID("", parseFailure(body, err))
	}
	duplicate, err := bs.broadcasts.Start(r.Context(), s.source(), b)
	if err != nil {
		return reply{}, withID(b.ID, err) // repeating with this id is safe
	}
	return reply{
		status: http.StatusAccepted,
		body:   appendPublished(nil, dispatcher.Published{ID: b.ID, Duplicate: duplicate}, nil),
	}, nil
}

// showBroadcast: GET /v2/broadcasts/:id.json
func (bs *broadcasts) showBroadcast(r *http.Request, s *Service) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	b, err := bs.broadcasts.Get(r.Context(), s.source(), id)
	if err != nil {
		return reply{}, err
	}
	return bs.broadcastReply(b)
}

// steered are the states that a service may request.
var steered = []broadcast.State{
	broadcast.Running, broadcast.Paused, broadcast.Cancelled,
}

// setBroadcast: PATCH /v2/broadcasts/:id.json
func (bs *broadcasts) setBroadcast(r *http.Request, s *Service) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	in, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	text, _ := in.given("state")
	to := broadcast.State(text)
	if !slices.Contains(steered, to) {
		return reply{}, wrong("state", "must be running, paused or cancelled")
	}
	b, err := bs.broadcasts.Set(r.Context(), s.source(), id, to)
	if errors.Is(err, broadcast.ErrState) {
		return reply{}, &failure{
			code: conflict, text: "api.broadcast.over",
			fields: map[string]string{"state": "cannot change any more: the broadcast is over"},
		}
	}
	if err != nil {
		return reply{}, err
	}
	return bs.broadcastReply(b)
}

// broadcastView is the JSON of a broadcast's status.
type broadcastView struct {
	ID         string            `json:"id"`
	Type       string            `json:"type"`
	State      broadcast.State   `json:"state"`
	Rate       int               `json:"rate"`
	CreatedAt  string            `json:"created_at"`
	At         string            `json:"at"`
	ExpiresAt  string            `json:"expires_at"`
	StartedAt  *string           `json:"started_at"`
	FinishedAt *string           `json:"finished_at"`
	Progress   broadcastProgress `json:"progress"`
}

type broadcastProgress struct {
	Total       int64             `json:"total"`
	Walked      int64             `json:"walked"`
	Sent        int64             `json:"sent"`
	Skipped     int64             `json:"skipped"`
	Pushes      broadcastPushes   `json:"pushes"`
	Receipts    broadcastReceipts `json:"receipts"`
	Rate        float64           `json:"rate"`
	SecondsLeft *int64            `json:"seconds_left"`
}

type broadcastPushes struct {
	Accepted int64          `json:"accepted"`
	Failed   []failedPushes `json:"failed"`
}

// broadcastReceipts counts devices whose app said what became of the broadcast.
type broadcastReceipts struct {
	Delivered int64 `json:"delivered"`
	Opened    int64 `json:"opened"`
	Dismissed int64 `json:"dismissed"`
}

type failedPushes struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

func (bs *broadcasts) broadcastReply(b broadcast.Status) (reply, error) {
	v := broadcastView{
		ID: b.ID, Type: b.Type, State: b.State, Rate: b.Rate,
		CreatedAt: timestamp(b.CreatedAt, bs.location), At: timestamp(b.At, bs.location), ExpiresAt: timestamp(b.ExpiresAt, bs.location),
		Progress: broadcastProgress{
			Total: b.Total, Walked: b.Walked, Sent: b.Sent, Skipped: b.Skipped, Rate: b.Pace,
			Pushes:   broadcastPushes{Accepted: b.Pushed, Failed: []failedPushes{}},
			Receipts: broadcastReceipts{b.Receipts[receipt.Delivered], b.Receipts[receipt.Opened], b.Receipts[receipt.Dismissed]},
		},
	}
	if !b.StartedAt.IsZero() {
		v.StartedAt = orNull(timestamp(b.StartedAt, bs.location))
	}
	if !b.FinishedAt.IsZero() {
		v.FinishedAt = orNull(timestamp(b.FinishedAt, bs.location))
	}
	for _, reason := range slices.SortedFunc(maps.Keys(b.Failed), strings.Compare) {
		v.Progress.Pushes.Failed = append(v.Progress.Pushes.Failed, failedPushes{reason, b.Failed[reason]})
	}
	if b.Left >= 0 {
		left := int64(b.Left.Seconds())
		v.Progress.SecondsLeft = &left
	}
	return ok(struct {
		Status    string        `json:"status"`
		Broadcast broadcastView `json:"broadcast"`
		Message   *string       `json:"message"`
	}{"OK", v, nil})
}
