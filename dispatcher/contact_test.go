package dispatcher

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestTransactionsMakeContacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(`{"id":"t1","type":"transaction","receiver_ids":[66,15],"message":"m","details":{"id":9,"state":"paid",
		"seller":{"id":66,"name":"Ani"},"buyer":{"id":15,"name":"Me Ow"},"products":[{"name":"Bantal"}]}}`)
	for user, want := range map[int64]model.Contact{
		66: {Role: model.Buyer, Partner: 15, Name: "Me Ow", Items: []string{"Bantal"}},
		15: {Role: model.Seller, Partner: 66, Name: "Ani", Items: []string{"Bantal"}},
	} {
		got, err := w.opts.Inbox.Contacts.List(context.Background(), user)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]model.Contact{want}, got); diff != "" {
			t.Errorf("user %d: %s", user, diff)
		}
	}
}
