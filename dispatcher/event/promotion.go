package event

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// PromotionFields are the fields of a promotion as services send them: valid JSON
// values, or nothing.
type PromotionFields struct {
	ID, Type, Message, Title, Details jsontext.Value
	Image, Link, Sound, Options       jsontext.Value
}

// A Promotion is the content of a broadcast.
type Promotion struct {
	ID      string // generated when the service gave none
	Type    string
	Title   *string // nil: none
	Message string
	Details []byte // JSON object

	Presentation push.Presentation
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
	c := RoleContent{Details: details.object}
	e.presentation = p.presentation(v, in.Image, in.Link, in.Sound)
	v.promotionOptions(&e.presentation, in.Options)
	c.present(&e)
	return Promotion{ID: e.ID, Type: e.Type, Title: e.Title, Message: e.message, Details: c.Details, Presentation: c.Presentation}
}

// promotionOptions reads the options of a promotion: those that present it.
func (v *Validator) promotionOptions(p *push.Presentation, value jsontext.Value) {
	if jsonscan.Absent(value) {
		return
	}
	var unknown []string
	err := jsonscan.EachMember(value, func(m jsonscan.Member) {
		if name := string(m.Name()); !v.presentationOption(p, name, m.Value, &unknown) {
			unknown = noteUnknown(unknown, "options.", name)
		}
	})
	if err != nil {
		v.Wrong("options", "must be an object")
	}
	for _, name := range unknown {
		v.Wrong(name, "is not a member of a broadcast")
	}
}
