package event

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// details are an event's details, and the fields that the rules need of them.
type details struct {
	// object is compact JSON without unread_items.
	object []byte

	id            string         // of the resource, or ""
	path          string         // where the resource stands, for errors
	state         string         // of a transaction or offer, or ""
	updatedAt     jsontext.Value // likewise
	createdAt     jsontext.Value // likewise
	seller, buyer person         // likewise; id 0 when unknown
	actions       jsontext.Value // the actions that it offers its receiver
	action        string         // of a mutation, or ""
	amount        jsontext.Value // of money
	product       product        // that was reported
	items         []string       // names of the products in a transaction
	cartItems     jsontext.Value
}

// noImage is what promotions without an image say: all of their samples have the member.
const noImage = `"image_url":null,`

// parseDetails reads details: an object, or nothing. unread_items is dropped, since Kabar
// counts itself; promotions get the image_url that all their samples have.
func parseDetails(raw jsontext.Value, promo bool) (details, error) {
	d := details{path: "details"}
	if jsonscan.Absent(raw) {
		raw = jsontext.Value("{}")
	}
	if raw.Kind() != '{' {
		return d, jsonscan.ErrNotObject
	}
	var transaction, product jsontext.Value
	resource := raw
	out := make([]byte, 0, len(raw)+len(noImage)+1)
	image := !promo
	out = append(out, '{')
	err := jsonscan.EachMember(raw, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "unread_items":
			return
		case "image_url":
			image = true
		case "transaction":
			transaction = m.Value
		case "product":
			product = m.Value
		case "cart_items":
			d.cartItems = m.Value
		}
		out = append(append(out, m.Key...), ':')
		out = append(jsonscan.AppendCompact(out, m.Value), ',')
	})
	if err != nil {
		return d, jsonscan.ErrNotObject
	}
	if !image {
		out = append(out, noImage...)
	}
	d.object = closeObject(out)
	if transaction.Kind() == '{' {
		d.path, resource = "details.transaction", transaction
	}
	d.readResource(resource)
	if !promo && product.Kind() == '{' {
		d.product = readProduct(product)
	}
	return d, nil
}

// closeObject ends an object whose members are each followed by a comma.
func closeObject(open []byte) []byte {
	if open[len(open)-1] == ',' {
		open = open[:len(open)-1]
	}
	return append(open, '}')
}

// readResource takes the fields that the rules need from a transaction, an offer, or
// a movement of money.
func (d *details) readResource(object jsontext.Value) {
	_ = jsonscan.EachMember(object, func(m jsonscan.Member) { // it is an object
		switch string(m.Name()) {
		case "id":
			d.id, _ = jsonscan.Scalar(m.Value)
		case "state":
			d.state, _ = jsonscan.Scalar(m.Value)
		case "updated_at":
			d.updatedAt = m.Value
		case "created_at":
			d.createdAt = m.Value
		case "actions":
			d.actions = m.Value
		case "action":
			d.action, _ = jsonscan.Scalar(m.Value)
		case "amount":
			d.amount = m.Value
		case "seller":
			d.seller = readPerson(m.Value)
		case "buyer":
			d.buyer = readPerson(m.Value)
		case "products":
			d.items = readItems(m.Value)
		}
	})
}

// A person is the seller or the buyer in a transaction or offer.
type person struct {
	id                     int64
	name, username, avatar string
}

// Bounds of the fields of a transaction that a contact list shows.
const (
	maxItems  = 20
	maxItem   = 200 // characters of an item's or a person's name
	maxAvatar = 2048
	maxAmount = 32 // characters
)

// readPerson reads a seller or buyer. A malformed field counts as absent: no rule needs it.
func readPerson(v jsontext.Value) (p person) {
	_ = jsonscan.EachMember(v, func(m jsonscan.Member) { // fails when v is no object: then there is no name
		switch string(m.Name()) {
		case "id":
			s, _ := jsonscan.Scalar(m.Value)
			p.id, _ = model.ParseUser(s)
		case "name":
			s, _ := jsonscan.Scalar(m.Value)
			p.name = cleanName(s)
		case "username":
			s, _ := jsonscan.Scalar(m.Value)
			p.username = cleanName(s)
		case "avatar":
			s, _ := jsonscan.Scalar(m.Value)
			if len(s) <= maxAvatar && (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")) {
				p.avatar = s
			}
		}
	})
	return p
}

// cleanName returns the name of a person or a product as it is shown, or "" when it shows
// nothing.
func cleanName(name string) string {
	if name = model.CleanName(name); !model.Visible(name) {
		return ""
	}
	return Truncate(name, maxItem)
}

// A product is the product that a report is about.
type product struct {
	id, name string
	seller   jsontext.Value // user id of its owner
}

func readProduct(v jsontext.Value) (p product) {
	_ = jsonscan.EachMember(v, func(m jsonscan.Member) { // it is an object
		switch string(m.Name()) {
		case "id":
			p.id, _ = jsonscan.Scalar(m.Value)
		case "name":
			s, _ := jsonscan.Scalar(m.Value)
			p.name = cleanName(s)
		case "seller_id":
			p.seller = m.Value
		}
	})
	return p
}

// readAmount reads an amount of money as it is to be shown, or "" when it is none.
func readAmount(v jsontext.Value) string {
	s, _ := jsonscan.Scalar(v)
	if s == "" || s[0] < '0' || s[0] > '9' || len(s) > maxAmount || strings.Trim(s, "0123456789.,") != "" {
		return ""
	}
	return s
}

// stateRules returns the rules for a movement of money or a report; nil when the details
// lack a field that the texts of the rules need.
func (d *details) stateRules(eventType string) *stateRules {
	switch {
	case eventType == "report" && d.product.name != "":
		return rulesByState["report"]["reported"]
	case eventType != "dompet" || readAmount(d.amount) == "":
		return nil
	case d.action != "":
		return rulesByState["mutation"][d.action]
	}
	return rulesByState["withdrawal"][d.state]
}

// readItems reads the names of products, each once.
func readItems(v jsontext.Value) (items []string) {
	if v.Kind() != '[' {
		return nil
	}
	jsonscan.EachElement(v, func(product jsontext.Value) {
		_ = jsonscan.EachMember(product, func(m jsonscan.Member) { // what is no object has no name
			if string(m.Name()) != "name" || len(items) == maxItems {
				return
			}
			s, _ := jsonscan.Scalar(m.Value)
			if name := cleanName(s); name != "" && !slices.Contains(items, name) {
				items = append(items, name)
			}
		})
	})
	return items
}
