package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloud "github.com/cloudevents/sdk-go/v2/event"
	cloudhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/event"
)

// The content types of CloudEvents 1.0 over HTTP, structured and batched. In the
// third mode, binary, the body is the event's data and headers are its attributes.
const (
	typeCloudEvent  = cloud.ApplicationCloudEventsJSON
	typeCloudEvents = cloud.ApplicationCloudEventsBatchJSON
)

// cloudHeader begins the headers that are attributes in binary mode.
const cloudHeader = "Ce-"

// maxSource bounds a source, in bytes.
const maxSource = 1024

// requiredAttributes are the attributes that every CloudEvent has.
var requiredAttributes = []string{"specversion", "id", "source", "type"}

// binaryMode reports whether a request is a CloudEvent in binary mode. One required
// attribute is enough, so that the answer names those that are missing.
func binaryMode(h http.Header) bool {
	for _, name := range requiredAttributes {
		if h.Get(cloudHeader+name) != "" {
			return true
		}
	}
	return false
}

// parseBinary reads a CloudEvent in binary mode.
func (p *eventParser) parseBinary(h http.Header, body []byte) (*event.Event, error) {
	if len(body) > event.MaxEventSize {
		return nil, eventTooLarge()
	}
	decoded := http.Header{"Content-Type": {h.Get("Content-Type")}}
	attributes := map[string]string{"datacontenttype": h.Get("Content-Type")}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(name, cloudHeader)
		if !ok || values[0] == "" {
			continue
		}
		// Percent-encoded as the HTTP binding says, section 3.1.3.2. The SDK neither
		// encodes nor decodes: what is not encoded is taken as it stands.
		value := values[0]
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		decoded.Set(name, value)
		attributes[strings.ToLower(attribute)] = value
	}
	if err := checkAttributes(attributes); err != nil {
		return nil, err
	}
	e, err := binding.ToEvent(context.Background(), cloudhttp.NewMessage(decoded, io.NopCloser(bytes.NewReader(body))))
	if err != nil {
		return nil, notCloudEvent()
	}
	return p.fromCloud(e, attributes["source"])
}

// parseCloud reads a CloudEvent in structured mode, or one of a batch.
func (p *eventParser) parseCloud(raw []byte) (*event.Event, error) {
	if len(raw) > event.MaxEventSize {
		return nil, eventTooLarge()
	}
	if !jsontext.Value(raw).IsValid() { // the SDK would accept duplicate names
		return nil, &failure{code: malformed, fields: map[string]string{"event": "is not valid JSON"}}
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, wrong("event", "must be a JSON object")
	}
	attributes, err := readAttributes(members)
	if err != nil {
		return nil, err
	}
	if err := checkAttributes(attributes); err != nil {
		return nil, err
	}
	delete(members, "datacontenttype") // it is JSON, which the SDK recognises in one spelling only
	if raw, err = json.Marshal(members); err != nil {
		return nil, err
	}
	e := &cloud.Event{}
	if err := e.UnmarshalJSON(raw); err != nil {
		return nil, notCloudEvent()
	}
	return p.fromCloud(e, attributes["source"])
}

// readAttributes returns the attributes that CloudEvents defines. It deletes null members,
// which count as absent. It refuses members of a wrong type, because the SDK panics on some
// of them.
func readAttributes(members map[string]jsontext.Value) (map[string]string, error) {
	attributes := make(map[string]string)
	for name, value := range members {
		switch {
		case name == "":
			return nil, notCloudEvent()
		case name == "data":
			continue
		case value.Kind() == 'n':
			delete(members, name)
			continue
		}
		switch name {
		case "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data_base64":
			var text string
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, wrong(name, "must be a string")
			}
			attributes[name] = text
		}
	}
	if text, ok := attributes["data_base64"]; ok {
		if _, both := members["data"]; both {
			return nil, wrong("data_base64", "cannot be given beside data")
		}
		if _, err := base64.StdEncoding.DecodeString(text); err != nil {
			return nil, wrong("data_base64", "is not base64")
		}
	}
	return attributes, nil
}

// checkAttributes validates attributes and names those that are wrong. The SDK does that
// for some of them only.
func checkAttributes(attributes map[string]string) error {
	fields := make(map[string]string)
	for _, name := range requiredAttributes {
		if strings.TrimSpace(attributes[name]) == "" {
			fields[name] = "is required"
		}
	}
	if v := attributes["specversion"]; v != "" && v != cloud.CloudEventsVersionV1 {
		fields["specversion"] = "must be 1.0"
	}
	if source := attributes["source"]; len(source) > maxSource {
		fields["source"] = fmt.Sprintf("is longer than %d bytes", maxSource)
	} else if source != "" && (types.ParseURIRef(source) == nil || !utf8.ValidString(source)) {
		fields["source"] = "must be a URI reference"
	}
	if at := attributes["time"]; at != "" {
		if _, err := types.ParseTimestamp(at); err != nil {
			fields["time"] = "must be a time as in RFC 3339, such as 2014-01-23T13:48:51+07:00"
		}
	}
	if header := attributes["datacontenttype"]; header != "" {
		media, _, err := mime.ParseMediaType(header)
		if err != nil || media != cloud.ApplicationJSON && media != cloud.TextJSON {
			fields["datacontenttype"] = "must be " + cloud.ApplicationJSON
		}
	}
	if len(fields) > 0 {
		return &failure{code: invalid, fields: fields}
	}
	return nil
}

func notCloudEvent() *failure { return wrong("event", "is not a CloudEvent of version 1.0") }

// receiverSubject begins a subject that names the receiver: "users/66".
const receiverSubject = "users/"

// fromCloud makes an event of a CloudEvent. Data is the event's body; the attributes id and
// time replace its members of the same name, and the last segment of type ("transaction" of
// "id.kabar.transaction") is the event's type. A subject like "users/66" names the receiver
// if data names none. Other attributes are ignored. The source is passed as it was sent,
// because the SDK normalises it.
func (p *eventParser) fromCloud(ce *cloud.Event, source string) (*event.Event, error) {
	if ce.Validate() != nil {
		return nil, notCloudEvent()
	}
	data := ce.Data()
	if len(data) == 0 {
		data = []byte("{}")
	}
	if !jsontext.Value(data).IsValid() {
		return nil, &failure{code: malformed, fields: map[string]string{"data": "is not valid JSON"}}
	}
	var body map[string]jsontext.Value
	if err := json.Unmarshal(data, &body); err != nil || body == nil {
		return nil, wrong("data", "must be a JSON object")
	}
	set := func(name, value string) error {
		quoted, err := jsontext.AppendQuote(nil, value)
		if err != nil {
			return wrong(name, "must be UTF-8")
		}
		body[name] = quoted
		return nil
	}
	attributes := map[string]string{"id": ce.ID(), "type": ce.Type()[strings.LastIndexByte(ce.Type(), '.')+1:]}
	if at := ce.Time(); !at.IsZero() {
		attributes["time"] = at.Format(time.RFC3339Nano)
	}
	if user, ok := strings.CutPrefix(ce.Subject(), receiverSubject); ok && body["receiver_id"] == nil && body["receiver_ids"] == nil {
		attributes["receiver_id"] = user
	}
	for name, value := range attributes {
		if err := set(name, value); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	e, err := p.parse(raw)
	if err != nil {
		return nil, err
	}
	return e.WithSource(source), nil
}
