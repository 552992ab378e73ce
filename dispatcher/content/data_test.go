package content

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// noteID is an id that was made at 2014-01-23T06:42:43.5Z.
const noteID = "52e0b9e37a12000000000000"

var (
	jakarta = time.FixedZone("WIB", 7*60*60)
	// unreads has a different number in each field.
	unreads = model.Unreads{
		Messages: 1, SellerTransactions: 2, TransactionNews: 3, Notifications: 4,
		BuyerTransactions: 5, CartItems: 6, SellerOffers: 7, BuyerOffers: 8,
	}
)

func TestData(t *testing.T) {
	t.Parallel()
	const items = `"messages":1,"transactions_need_action_as_seller":2,"transactions_need_action_as_buyer":5,` +
		`"offers_need_action_as_seller":7,"offers_need_action_as_buyer":8}`
	for name, c := range map[string]struct {
		promo bool
		body  Body
		want  string
	}{
		"promo": {
			true,
			Body{Type: "discount", Title: title("Diskon"), Message: "m", Details: jsontext.Value(`{"image_url":null}`)},
			`{"id":"52e0b9e37a12000000000000","created_at":"2014-01-23T13:42:43.500+07:00","read_state":false,` +
				`"type":"discount","title":"Diskon","message":"m","details":{"image_url":null},"notification_id":"52e0b9e37a12000000000000"}`,
		},
		"promo without a title": {
			true,
			Body{Type: "campaign", Message: "m", Details: jsontext.Value(`{"unread_items":null}`)},
			`{"id":"52e0b9e37a12000000000000","created_at":"2014-01-23T13:42:43.500+07:00","read_state":false,` +
				`"type":"campaign","title":null,"message":"m","details":{"unread_items":null},"notification_id":"52e0b9e37a12000000000000"}`,
		},
		"image and link": {
			false,
			Body{Type: "dompet", Message: "m", Details: jsontext.Value(`{}`), Presentation: push.Presentation{Image: "https://a", Link: "shop://b", Sound: "chime"}},
			`{"type":"dompet","receiver_id":66,"message":"m","details":{},"notification_id":"52e0b9e37a12000000000000","image":"https://a","link":"shop://b"}`,
		},
		"transaction": {
			false,
			Body{Type: "transaction", Title: title("not shown"), Message: "m", Details: jsontext.Value(`{"transaction":{"id":1},"unread_items":null}`)},
			`{"type":"transaction","receiver_id":66,"message":"m","details":{"transaction":{"id":1},"unread_items":{"unread_notifications":4,` + items + `},"notification_id":"52e0b9e37a12000000000000"}`,
		},
		"reminder": {
			false,
			Body{Type: "reminder", Message: "not shown", Details: jsontext.Value(`{"unread_items":null}`)},
			`{"type":"reminder","receiver_id":66,"unread_notifications":4,"messages":1,"details":{"unread_items":{` + items + `}}`,
		},
		"any other type": {
			false,
			Body{Type: "nego", Message: `"m"`, Details: jsontext.Value(`{"id":1,"unread_items":null}`)},
			`{"type":"nego","receiver_id":66,"message":"\"m\"","details":{"id":1,"unread_items":{` + items + `},"notification_id":"52e0b9e37a12000000000000"}`,
		},
		"details without room for counts": {
			false,
			Body{Type: "nego", Message: "m", Details: jsontext.Value(`{"id":1}`)},
			`{"type":"nego","receiver_id":66,"message":"m","details":{"id":1},"notification_id":"52e0b9e37a12000000000000"}`,
		},
	} {
		n := Notification{ID: noteID, Receiver: 66, Promo: c.promo, Body: c.body}
		fields, err := n.Data(unreads, jakarta)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := appendObject(nil, fields)
		if string(got) != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
		if !jsontext.Value(got).IsValid() {
			t.Errorf("%s: not JSON", name)
		}
		// A live event says what the push's data says.
		if live, err := n.EventJSON(&unreads, jakarta); string(live) != c.want || err != nil {
			t.Errorf("%s: live %s, %v, want\n%s", name, live, err, c.want)
		}
	}
}

// An invalid id is an error for promotions only, because only they show the time in the id.
func TestDataOfAnInvalidID(t *testing.T) {
	t.Parallel()
	for _, promo := range []bool{true, false} {
		n := Notification{ID: "123", Receiver: 66, Promo: promo, Body: Body{Type: "x", Details: jsontext.Value(`{}`)}}
		if fields, err := n.Data(unreads, jakarta); (err != nil) != promo {
			t.Errorf("promo %t: data %s, %v", promo, appendObject(nil, fields), err)
		}
		if event, err := n.EventJSON(nil, jakarta); (err != nil) != promo {
			t.Errorf("promo %t: event %s, %v", promo, event, err)
		}
		n.Translations = jsontext.Value(`{"en":"hello"}`)
		if frame, err := n.Frame(8, 7, text.English, nil, jakarta); (err != nil) != promo {
			t.Errorf("promo %t: frame %s, %v", promo, frame, err)
		}
	}
}

// All receivers of a body share its details, so filling in the counts must copy them.
func TestFillUnreadItemsCopies(t *testing.T) {
	t.Parallel()
	const stored = `{"id":1,"unread_items":null} `
	details := []byte(stored)[:len(stored)-1]
	for _, items := range []string{`{"messages":1}`, `{"messages":22}`} {
		want := `{"id":1,"unread_items":` + items + `}`
		if got := fillUnreadItems(details, []byte(items)); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := string(details[:cap(details)][:len(stored)]); got != stored {
			t.Errorf("the stored details became %s", got)
		}
	}
	// The counts are filled in only at the end of the object.
	for _, kept := range []string{`{}`, `{"unread_items":null,"id":1}`, `{"x":{"unread_items":null}}`} {
		if got := fillUnreadItems([]byte(kept), []byte(`{}`)); string(got) != kept {
			t.Errorf("%s became %s", kept, got)
		}
	}
}
