package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
)

// maxEvents bounds the events of a request.
const maxEvents = 1000

// events serves the endpoints of events.
type events struct {
	parser     *eventParser
	publisher  Publisher
	deliveries Deliveries
	language   *language
	failures   *failures
	location   *time.Location
	unknown    *prometheus.CounterVec // events with unknown members, by service and result
}

// publish: POST /v2/events.json
func (es *events) publish(r *http.Request, s *Service) (reply, error) {
	body, err := readBody(r)
	if err != nil {
		return reply{}, err
	}
	media, _, err := mediaType(r)
	if err != nil {
		return reply{}, err
	}
	if binaryMode(r.Header) && media != typeCloudEvent && media != typeCloudEvents {
		return es.publishOne(r, s, body, func(data []byte) (*event.Event, error) { return es.parser.parseBinary(r.Header, data) })
	}
	if body = bytes.TrimSpace(body); len(body) == 0 {
		return reply{}, bodyProblem(invalid, "must hold an event")
	}
	var events [][]byte
	parse := es.parser.parse
	switch media {
	case typeJSON, "":
		if body[0] != '[' {
			return es.publishOne(r, s, body, es.parser.parse)
		}
		events, err = splitArray(body)
	case typeNDJSON, typeNDJSON2:
		events, err = splitLines(body)
	case typeCloudEvent:
		return es.publishOne(r, s, body, es.parser.parseCloud)
	case typeCloudEvents:
		parse = es.parser.parseCloud
		if body[0] != '[' {
			err = bodyProblem(malformed, "must be an array")
			break
		}
		events, err = splitArray(body)
	default:
		err = unsupported(typeJSON, typeNDJSON, typeCloudEvent, typeCloudEvents)
	}
	if err != nil {
		return reply{}, err
	}
	return es.publishAll(r, s, events, parse)
}

// A parse reads one event of a request.
type parse func(raw []byte) (*event.Event, error)

func (es *events) publishOne(r *http.Request, s *Service, raw []byte, parse parse) (reply, error) {
	e, err := es.read(s, raw, parse)
	if err != nil {
		return reply{}, withID("", err)
	}
	p := es.publisher.Publish(r.Context(), s.source(), e)[0]
	if p.Err != nil {
		return reply{}, withID(p.ID, p.Err) // repeating with this id is safe
	}
	return reply{status: http.StatusAccepted, body: appendPublished(nil, p, e.Unknown)}, nil
}

// read reads one event of a service. It counts events with unknown members, and refuses
// them if the service is strict.
func (es *events) read(s *Service, raw []byte, parse parse) (*event.Event, error) {
	e, err := parse(raw)
	if err != nil || len(e.Unknown) == 0 {
		return e, err
	}
	if s.Strict {
		es.unknown.WithLabelValues(s.Name, "refused").Inc()
		return nil, e.RefuseUnknown()
	}
	es.unknown.WithLabelValues(s.Name, "accepted").Inc()
	return e, nil
}

// withID adds the event's id to a failure: null when the event could not be read.
func withID(id string, err error) error {
	return with(map[string]any{"id": orNull(id)}, err)
}

// publishAll publishes the valid events in one call, and answers for every event.
func (es *events) publishAll(r *http.Request, s *Service, raw [][]byte, parse parse) (reply, error) {
	results := make([]dispatcher.Published, len(raw))
	unknown := make([][]string, len(raw))
	valid := make([]*event.Event, 0, len(raw))
	places := make([]int, 0, len(raw)) // of the valid events in the request
	for i, item := range raw {
		e, err := es.read(s, item, parse)
		if err != nil {
			results[i].Err = err
			continue
		}
		valid, places = append(valid, e), append(places, i)
		unknown[i] = e.Unknown
	}
	if len(valid) > 0 {
		for i, p := range es.publisher.Publish(r.Context(), s.source(), valid...) {
			results[places[i]] = p
		}
	}
	locale := es.language.locale(r, 0)
	body := []byte(`{"status":"OK","results":[`)
	for i, p := range results {
		if i > 0 {
			body = append(body, ',')
		}
		if p.Err != nil {
			f := failureOf(withID(p.ID, p.Err))
			es.failures.report("/v2/events.json", f)
			body = append(body, f.envelope(es.language.text(locale, f.textID()))...)
			continue
		}
		body = appendPublished(body, p, unknown[i])
	}
	return reply{status: http.StatusOK, body: append(body, "]}"...)}, nil
}

// appendPublished writes the answer to one event that was stored, with a warning for each
// unknown member. It does without reflection because it runs for every event.
func appendPublished(b []byte, p dispatcher.Published, unknown []string) []byte {
	b = append(b, `{"status":"OK","id":`...)
	b, _ = jsontext.AppendQuote(b, p.ID) // it is valid UTF-8: the dispatcher read it from JSON or generated it
	b = append(b, `,"duplicate":`...)
	b = strconv.AppendBool(b, p.Duplicate)
	for i, name := range unknown {
		if i == 0 {
			b = append(b, `,"warnings":{`...)
		}
		b, _ = jsontext.AppendQuote(b, name) // likewise
		b = append(b, `:"is not a member of an event, and was ignored",`...)
	}
	if len(unknown) > 0 {
		b[len(b)-1] = '}' // in place of the last comma
	}
	return append(b, `,"message":null}`...)
}

// An eventParser parses events, and CloudEvents as events.
type eventParser struct{ publisher Publisher }

// parse reads one event.
func (p *eventParser) parse(raw []byte) (*event.Event, error) {
	if len(raw) > event.MaxEventSize {
		return nil, eventTooLarge()
	}
	e, err := p.publisher.Parse(raw)
	if err != nil {
		return nil, parseFailure(raw, err)
	}
	return e, nil
}

// parseFailure tells malformed JSON from valid JSON that was refused. It is checked only
// after an error, because it costs another pass over the body.
func parseFailure(raw []byte, err error) *failure {
	f := *failureOf(err)
	if !jsontext.Value(raw).IsValid() {
		f.code = malformed
	}
	return &f
}

func eventTooLarge() *failure {
	return &failure{code: tooLarge, fields: map[string]string{
		"event": fmt.Sprintf("is larger than %d bytes", event.MaxEventSize),
	}}
}

// splitArray returns the elements of a JSON array, which share its memory.
func splitArray(body []byte) ([][]byte, error) {
	// Duplicate names and invalid UTF-8 invalidate their own event only.
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil { // the bracket
		return nil, jsonProblem(err)
	}
	var events [][]byte
	for dec.PeekKind() != ']' {
		if len(events) == maxEvents {
			return nil, tooMany()
		}
		v, err := dec.ReadValue()
		if err != nil {
			return nil, jsonProblem(err)
		}
		end := dec.InputOffset()
		events = append(events, body[end-int64(len(v)):end])
	}
	if _, err := dec.ReadToken(); err != nil { // the bracket
		return nil, jsonProblem(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, bodyProblem(malformed, "holds more than an array")
	}
	return atLeastOne(events)
}

// splitLines returns the lines of NDJSON that are not blank.
func splitLines(body []byte) ([][]byte, error) {
	var events [][]byte
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(events) == maxEvents {
			return nil, tooMany()
		}
		events = append(events, line)
	}
	return atLeastOne(events)
}

func tooMany() *failure {
	return bodyProblem(tooLarge, fmt.Sprintf("holds more than %d events", maxEvents))
}

func atLeastOne(events [][]byte) ([][]byte, error) {
	if len(events) == 0 {
		return nil, bodyProblem(invalid, "must hold an event")
	}
	return events, nil
}

// showEvent: GET /v2/events/:id.json
func (es *events) showEvent(r *http.Request, s *Service) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	statuses, err := es.deliveries.Status(r.Context(), sourceIn(r, s), id)
	if err != nil {
		return reply{}, err
	}
	receivers := make([]receiver, len(statuses))
	for i, st := range statuses {
		receivers[i] = es.receiver(st)
	}
	return ok(struct {
		Status    string     `json:"status"`
		ID        string     `json:"id"`
		Receivers []receiver `json:"receivers"`
		Message   *string    `json:"message"`
	}{"OK", id, receivers, nil})
}

// sourceIn returns the source of the event that a request names. The parameter is the source
// of a CloudEvent, whose ids are unique within it.
func sourceIn(r *http.Request, s *Service) string {
	return event.WithinSource(s.source(), r.URL.Query().Get("source"))
}

// retractEvent: DELETE /v2/events/:id.json
func (es *events) retractEvent(r *http.Request, s *Service) (reply, error) {
	id, err := pathID(r)
	if err != nil {
		return reply{}, err
	}
	if err := es.publisher.Retract(r.Context(), sourceIn(r, s), id); err != nil {
		return reply{}, err
	}
	return ok(struct {
		Status  string  `json:"status"`
		ID      string  `json:"id"`
		Message *string `json:"message"`
	}{"OK", id, nil})
}

// receiver is the JSON of an event's delivery status for one user.
type receiver struct {
	ReceiverID     int64           `json:"receiver_id"`
	NotificationID *string         `json:"notification_id"`
	StoredAt       *string         `json:"stored_at"`
	Live           bool            `json:"live"`
	Push           string          `json:"push"`
	At             string          `json:"at,omitempty"`
	Devices        []deviceOutcome `json:"devices"`
	Receipts       []eventReceipt  `json:"receipts"`
}

// eventReceipt is the JSON of what an app said became of an event.
type eventReceipt struct {
	Device *string `json:"device"`
	Event  string  `json:"event"`
	At     string  `json:"at"`
}

// deviceOutcome is the JSON of an event's delivery status on one phone.
type deviceOutcome struct {
	Device      string  `json:"device"`
	App         string  `json:"app,omitempty"`
	Platform    string  `json:"platform"`
	Environment string  `json:"environment,omitempty"`
	Outcome     string  `json:"outcome"`
	Reason      *string `json:"reason"`
	ProviderID  *string `json:"provider_id"`
	Attempts    int     `json:"attempts"`
	At          string  `json:"at"`
	Since       string  `json:"since,omitempty"`
	Why         string  `json:"why,omitempty"`
}

func (es *events) receiver(st delivery.ReceiverStatus) receiver {
	re := receiver{
		ReceiverID:     st.Receiver,
		NotificationID: orNull(st.NotificationID),
		Live:           st.Live,
		Push:           st.Push,
		Devices:        make([]deviceOutcome, len(st.Devices)),
		Receipts:       make([]eventReceipt, len(st.Receipts)),
	}
	if !st.At.IsZero() {
		re.At = timestamp(st.At, es.location)
	}
	if !st.StoredAt.IsZero() {
		re.StoredAt = orNull(timestamp(st.StoredAt, es.location))
	}
	for i, receipt := range st.Receipts {
		re.Receipts[i] = eventReceipt{orNull(receipt.Device), receipt.Event, timestamp(receipt.At, es.location)}
	}
	for i, d := range st.Devices {
		re.Devices[i] = deviceOutcome{
			Device: d.Device, App: d.Route.App, Platform: d.Route.Platform, Environment: d.Route.Environment, Outcome: d.Outcome,
			Reason: orNull(string(d.Reason)), ProviderID: orNull(d.ProviderID),
			Attempts: d.Attempts, At: timestamp(d.At, es.location), Why: string(d.Why),
		}
		if !d.Since.IsZero() {
			re.Devices[i].Since = timestamp(d.Since, es.location)
		}
	}
	return re
}

// timestamp writes a time as the notifications do.
func timestamp(t time.Time, location *time.Location) string {
	return t.In(location).Format(content.TimeLayout)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
