package event

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestContactOfATransaction(t *testing.T) {
	const (
		seller = `"seller":{"id":66,"name":"Testing Account","avatar":"https://a/b.jpg"}`
		buyer  = `"buyer":{"id":"52357","name":"Liem Lie Wie","avatar":"javascript:x"}`
		items  = `"products":[{"name":"Bantal"},{"name":"Bantal"},{"id":1},7,{"name":""},{"name":"Guling"}]`
	)
	parser := testParser()
	long := strings.Repeat("é", maxItem)
	for name, c := range map[string]struct {
		kind, details string
		receiver      int64
		want          *model.Contact
	}{
		"the seller's": {
			"transaction", `{"id":1,"transaction":{"id":1,` + seller + `,` + buyer + `,` + items + `}}`, 66,
			&model.Contact{Role: model.Buyer, Partner: 52357, Transaction: "transaction:1", Name: "Liem Lie Wie", Items: []string{"Bantal", "Guling"}},
		},
		"the buyer's": {
			"transaction", `{"id":1,` + seller + `,` + buyer + `,` + items + `}`, 52357,
			&model.Contact{Role: model.Seller, Partner: 66, Transaction: "transaction:1", Name: "Testing Account", Avatar: "https://a/b.jpg", Items: []string{"Bantal", "Guling"}},
		},
		"of neither":     {"transaction", `{"id":1,` + seller + `,` + buyer + `}`, 7, nil},
		"of an offer":    {"nego", `{"id":1,` + seller + `,` + buyer + `}`, 66, nil},
		"without a user": {"transaction", `{"id":1,` + seller + `,"buyer":{"id":"x"}}`, 66, nil},
		"with oneself":   {"transaction", `{"id":1,` + seller + `,"buyer":{"id":66}}`, 66, nil},
		"odd products": {
			"transaction", `{"id":1,` + seller + `,"buyer":{"id":15,"name":["x"]},"products":{}}`, 66,
			&model.Contact{Role: model.Buyer, Partner: 15, Transaction: "transaction:1"},
		},
		"names with overrides": {
			"transaction", `{"id":1,` + seller + `,"buyer":{"id":15,"name":"\u202eMe\u202c \u2067Ow\u2069"},"products":[{"name":"\u202eBantal"},{"name":"\u2066 \u2069"}]}`, 66,
			&model.Contact{Role: model.Buyer, Partner: 15, Transaction: "transaction:1", Name: "Me Ow", Items: []string{"Bantal"}},
		},
		"a name that shows nothing": {
			"transaction", `{"id":1,` + seller + `,"buyer":{"id":15,"name":"\u200d\u3164"}}`, 66,
			&model.Contact{Role: model.Buyer, Partner: 15, Transaction: "transaction:1"},
		},
		"a long name": {
			"transaction", `{"id":1,` + seller + `,"buyer":{"id":15},"products":[{"name":"` + long + `éé"}]}`, 66,
			&model.Contact{Role: model.Buyer, Partner: 15, Transaction: "transaction:1", Items: []string{long}},
		},
	} {
		e, err := parser.Parse(fmt.Appendf(nil, `{"type":%q,"receiver_id":%d,"message":"m","details":%s}`, c.kind, c.receiver, c.details))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, e.Contact(c.receiver)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestItemsOfATransactionAreBounded(t *testing.T) {
	var products []string
	for i := range 2 * maxItems {
		products = append(products, fmt.Sprintf(`{"name":"%d"}`, i))
	}
	if items := readItems([]byte("[" + strings.Join(products, ",") + "]")); len(items) != maxItems || items[0] != "0" {
		t.Errorf("%q", items)
	}
}
