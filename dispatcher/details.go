package dispatcher

import "github.com/go-json-experiment/json/jsontext"

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
	var transaction jsontext.Value
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
	return d, nil
}

// readResource takes the fields that the rules need from a transaction or offer.
func (d *details) readResource(object jsontext.Value) {
	_ = eachMember(object, func(m member) { // it is an object
		switch string(m.name()) {
		case "id":
			d.id, _ = scalar(m.value)
		case "state":
			d.state, _ = scalar(m.value)
		case "updated_at":
			d.updatedAt = m.value
		case "seller":
			d.seller = userOf(m.value)
		case "buyer":
			d.buyer = userOf(m.value)
		}
	})
}

// userOf returns the id of an embedded user, 0 when there is none.
func userOf(v jsontext.Value) (user int64) {
	_ = eachMember(v, func(m member) { // else there is none
		if string(m.name()) == "id" {
			s, _ := scalar(m.value)
			user, _ = ParseUser(s)
		}
	})
	return user
}
