package event

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// PromotionFields are the fields of a promotion as services send them: valid JSON
// values, or nothing.
type PromotionFields struct {
	ID, Type, Message, Title, Details jsontext.Value
}

// A Promotion is the content of a broadcast.
type Promotion struct {
	ID      string // generated when the service gave none
	Type    string
	Title   *string // nil: none
	Message string
	Details []byte // JSON object
}

// Promotion reads a promotion by the rules of an event. It notes problems with v.
func (p *Parser) Promotion(v *Validator, in PromotionFields) Promotion {
	if jsonscan.Absent(in.Type) {
		in.Type = jsontext.Value(`"broadcast"`)
	}
	name, _ := jsonscan.Scalar(in.Type)
	if spec, known := p.types.lookup(name); known && !spec.Promo {
		v.Wrong("type", "is not that of a promotion")
		return Promotion{}
	}
	if len(in.Details) > MaxEventSize {
		v.Wrong("details", fmt.Sprintf("is larger than %d bytes", MaxEventSize))
		return Promotion{}
	}
	var e Event
	if known := p.readHead(v, &e, &wireEvent{id: in.ID, eventType: in.Type, message: in.Message, title: in.Title}); known && e.message == "" {
		v.Wrong("message", "is required")
	}
	details, err := parseDetails(in.Details, true)
	if err != nil {
		v.Wrong("details", err.Error())
	}
	if e.ID == "" {
		e.ID = model.NewID(p.now())
	}
	return Promotion{ID: e.ID, Type: e.Type, Title: e.Title, Message: e.message, Details: details.object}
}
