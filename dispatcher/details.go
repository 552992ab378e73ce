package dispatcher

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// details are an event's details, and what the rules need of them.
type details struct {
	// object is compact JSON that ends with `"unread_items":null}`: the place
	// that the receiver's numbers are put into when the push is sent.
	object []byte

	id            string         // of the resource, or ""
	conversation  string         // inbox_id of a message, or ""
	path          string         // where the resource stands, for errors
	state         string         // of a transaction or offer, or ""
	updatedAt     jsontext.Value // likewise
	createdAt     jsontext.Value // likewise
	seller, buyer person         // likewise; id 0 when unknown
	actions       jsontext.Value // what it offers its receiver
	action        string         // of a mutation, or ""
	amount        jsontext.Value // of money
	product       product        // that was reported
	items         []string       // names of what a transaction is about
	cartItems     jsontext.Value
}

const (
	noUnreadItems = `"unread_items":null}` // ends the details that are kept
	noImage       = `"image_url":null,`
)

// parseDetails reads details: an object, or nothing. What they say of unread items
// is dropped; promotions get the image_url that all their samples have.
func parseDetails(raw jsontext.Value, promo bool) (details, error) {
	d := details{path: "details"}
	if absent(raw) {
		raw = jsontext.Value("{}")
	}
	if raw.Kind() != '{' {
		return d, errNotObject
	}
	var transaction, product jsontext.Value
	resource := raw
	out := make([]byte, 0, len(raw)+len(noUnreadItems)+len(noImage)+1)
	image := !promo
	out = append(out, '{')
	err := eachMember(raw, func(m member) {
		switch string(m.name()) {
		case "unread_items":
			return
		case "image_url":
			image = true
		case "transaction":
			transaction = m.value
		case "product":
			product = m.value
		case "cart_items":
			d.cartItems = m.value
		case "inbox_id":
			d.conversation, _ = scalar(m.value)
		}
		out = append(append(out, m.key...), ':')
		out = append(appendCompact(out, m.value), ',')
	})
	if err != nil {
		return d, errNotObject
	}
	if !image {
		out = append(out, noImage...)
	}
	d.object = append(out, noUnreadItems...)
	if transaction.Kind() == '{' {
		d.path, resource = "details.transaction", transaction
	}
	d.readResource(resource)
	if !promo && product.Kind() == '{' {
		d.product = readProduct(product)
	}
	return d, nil
}

// readResource takes the fields that the rules need from a transaction, an offer, or
// a movement of money.
func (d *details) readResource(object jsontext.Value) {
	_ = eachMember(object, func(m member) { // it is an object
		switch string(m.name()) {
		case "id":
			d.id, _ = scalar(m.value)
		case "state":
			d.state, _ = scalar(m.value)
		case "updated_at":
			d.updatedAt = m.value
		case "created_at":
			d.createdAt = m.value
		case "actions":
			d.actions = m.value
		case "action":
			d.action, _ = scalar(m.value)
		case "amount":
			d.amount = m.value
		case "seller":
			d.seller = readPerson(m.value)
		case "buyer":
			d.buyer = readPerson(m.value)
		case "products":
			d.items = readItems(m.value)
		}
	})
}

// A person is one of the two in a transaction or offer.
type person struct {
	id                     int64
	name, username, avatar string
}

// Bounds of what a contact list shows of a transaction.
const (
	maxItems  = 20
	maxItem   = 200 // characters of an item's or a person's name
	maxAvatar = 2048
	maxAmount = 32 // characters
)

// readPerson reads a seller or buyer. What is not as documented is as good as
// absent: no rule needs it.
func readPerson(v jsontext.Value) (p person) {
	_ = eachMember(v, func(m member) { // else there is nobody
		switch string(m.name()) {
		case "id":
			s, _ := scalar(m.value)
			p.id, _ = ParseUser(s)
		case "name":
			s, _ := scalar(m.value)
			p.name = cut(s, maxItem)
		case "username":
			s, _ := scalar(m.value)
			p.username = cut(s, maxItem)
		case "avatar":
			s, _ := scalar(m.value)
			if len(s) <= maxAvatar && (strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")) {
				p.avatar = s
			}
		}
	})
	return p
}

// A product is what a report is about.
type product struct {
	id, name string
	seller   jsontext.Value // user id of its owner
}

func readProduct(v jsontext.Value) (p product) {
	_ = eachMember(v, func(m member) { // it is an object
		switch string(m.name()) {
		case "id":
			p.id, _ = scalar(m.value)
		case "name":
			s, _ := scalar(m.value)
			p.name = cut(s, maxItem)
		case "seller_id":
			p.seller = m.value
		}
	})
	return p
}

// readAmount reads an amount of money as it is to be shown, or "" when it is none.
func readAmount(v jsontext.Value) string {
	s, _ := scalar(v)
	if s == "" || s[0] < '0' || s[0] > '9' || len(s) > maxAmount || strings.Trim(s, "0123456789.,") != "" {
		return ""
	}
	return s
}

// meaning returns what a movement of money or a report means; nil when they do not
// say enough for the rules' words.
func (d *details) meaning(eventType string) *meaning {
	switch {
	case eventType == "report" && d.product.name != "":
		return meanings["report"]["reported"]
	case eventType != "dompet" || readAmount(d.amount) == "":
		return nil
	case d.action != "":
		return meanings["mutation"][d.action]
	}
	return meanings["withdrawal"][d.state]
}

// readItems reads the names of products, each once.
func readItems(v jsontext.Value) (items []string) {
	if v.Kind() != '[' {
		return nil
	}
	eachElement(v, func(product jsontext.Value) {
		_ = eachMember(product, func(m member) { // what is no object has no name
			if string(m.name()) != "name" || len(items) == maxItems {
				return
			}
			s, _ := scalar(m.value)
			if name := cut(s, maxItem); name != "" && !slices.Contains(items, name) {
				items = append(items, name)
			}
		})
	})
	return items
}

// cut returns the first characters of a text.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}
