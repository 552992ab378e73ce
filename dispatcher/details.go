package dispatcher

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
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
	seller, buyer int64          // likewise; 0 when unknown
	cartItems     jsontext.Value
}

// noUnreadItems ends the details that are kept.
const noUnreadItems = `"unread_items":null}`

// parseDetails reads details: an object, or nothing. What they say of unread items
// is dropped; promotions get the image_url that all their samples have.
func parseDetails(raw jsontext.Value, promo bool) (details, error) {
	d := details{path: "details"}
	if absent(raw) {
		raw = jsontext.Value("{}")
	}
	if raw.Kind() != '{' {
		return d, errors.New("must be an object")
	}
	var resource, transaction jsontext.Value
	resource = raw
	out := bytes.NewBuffer(make([]byte, 0, len(raw)+len(noUnreadItems)+len(`"image_url":null,`)))
	image := !promo
	out.WriteByte('{')
	err := eachMember(raw, func(name string, key, value jsontext.Value) {
		switch name {
		case "unread_items":
			return
		case "image_url":
			image = true
		case "transaction":
			transaction = value
		case "cart_items":
			d.cartItems = value
		case "inbox_id":
			d.conversation, _ = scalar(value)
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(value)
		out.WriteByte(',')
	})
	if err != nil {
		return d, errors.New("must be an object without repeated names")
	}
	if !image {
		out.WriteString(`"image_url":null,`)
	}
	out.WriteString(noUnreadItems)
	d.object = out.Bytes()
	if transaction.Kind() == '{' {
		d.path, resource = "details.transaction", transaction
	}
	return d, d.readResource(resource)
}

// eachMember calls f with each member of an object, compact.
func eachMember(object jsontext.Value, f func(name string, key, value jsontext.Value)) error {
	compact := object
	if bytes.ContainsAny(object, " \t\r\n") {
		compact = object.Clone()
		if err := compact.Compact(); err != nil {
			return err
		}
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(compact)) // a Buffer is read in place
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadValue()
		if err != nil {
			return err
		}
		key = key.Clone()
		name, _ := scalar(key)
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		f(name, key, value.Clone())
	}
	return nil
}

// readResource takes the fields that the rules need from a transaction or offer.
func (d *details) readResource(object jsontext.Value) error {
	type person struct {
		ID jsontext.Value `json:"id"`
	}
	var r struct {
		ID        jsontext.Value `json:"id"`
		State     jsontext.Value `json:"state"`
		UpdatedAt jsontext.Value `json:"updated_at"`
		Seller    jsontext.Value `json:"seller"`
		Buyer     jsontext.Value `json:"buyer"`
	}
	if err := json.Unmarshal(object, &r); err != nil {
		return errors.New("must be an object without repeated names")
	}
	d.id, _ = scalar(r.ID)
	d.state, _ = scalar(r.State)
	d.updatedAt = r.UpdatedAt
	idOf := func(v jsontext.Value) int64 {
		var p person
		if v.Kind() != '{' || json.Unmarshal(v, &p) != nil {
			return 0
		}
		s, _ := scalar(p.ID)
		user, _ := ParseUser(s)
		return user
	}
	d.seller, d.buyer = idOf(r.Seller), idOf(r.Buyer)
	return nil
}
