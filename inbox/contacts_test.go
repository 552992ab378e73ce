package inbox

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// trade stores a transaction's state with a contact.
func trade(t *testing.T, s *Store, at time.Time, c model.Contact) {
	t.Helper()
	p := NewNotification{
		Receiver: user, Event: fmt.Sprintf("%s %d %v", c.Transaction, at.UnixMicro(), c.Items), Content: "c",
		Type: "transaction", Body: []byte(`{}`), Contact: &c,
		Subject: "transaction:" + c.Transaction, State: model.State{Order: at, Rank: 1},
	}
	if _, errs := s.Notifications.Store(context.Background(), []NewNotification{p}, nil); errs[0] != nil {
		t.Fatal(errs[0])
	}
}

func TestContacts(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		now := time.Now()
		after := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
		trade(t, s, after(1), model.Contact{Role: model.Seller, Partner: 11, Transaction: "1", Name: "Gon", Items: []string{"Rod", "Bait"}})
		trade(t, s, after(2), model.Contact{Role: model.Buyer, Partner: 12, Transaction: "2", Name: "Killua", Items: []string{"Yo-yo"}})
		trade(t, s, after(3), model.Contact{Role: model.Seller, Partner: 11, Transaction: "3", Name: "Gon F.", Avatar: "https://a", Items: []string{"Map", "Rod"}})
		trade(t, s, after(4), model.Contact{Role: model.Buyer, Partner: 11, Transaction: "4", Name: "Gon", Items: nil})
		// The same transaction again, and a late event with an older state of it.
		trade(t, s, after(5), model.Contact{Role: model.Buyer, Partner: 12, Transaction: "2", Name: "Killua Z.", Items: []string{"Yo-yo"}})
		trade(t, s, after(0), model.Contact{Role: model.Buyer, Partner: 12, Transaction: "2", Name: "Old", Items: []string{"Old"}})
		got, err := s.Contacts.List(context.Background(), user)
		if err != nil {
			t.Fatal(err)
		}
		want := []model.Contact{
			{Role: model.Buyer, Partner: 12, Name: "Killua Z.", Items: []string{"Yo-yo"}},
			{Role: model.Buyer, Partner: 11, Name: "Gon"},
			{Role: model.Seller, Partner: 11, Name: "Gon F.", Avatar: "https://a", Items: []string{"Map", "Rod", "Bait"}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if got, err := s.Contacts.List(context.Background(), partner); len(got) != 0 || err != nil {
			t.Errorf("somebody without transactions has %v, %v", got, err)
		}
	})
}

func TestContactsAreBounded(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		now := time.Now()
		const most = maxContacts + 20
		for i := range most {
			trade(t, s, now.Add(time.Duration(i)*time.Millisecond), model.Contact{
				Role: model.Seller, Partner: int64(1 + i%(2*maxPartners)), Transaction: fmt.Sprint(i), Items: []string{fmt.Sprint("item ", i)},
			})
		}
		k := s.keys(user)
		ctx := context.Background()
		if h, z := rdb.HLen(ctx, k.contacts()).Val(), rdb.ZCard(ctx, k.recentContacts()).Val(); h != maxContacts || z != maxContacts {
			t.Errorf("%d transactions, %d of them in order", h, z)
		}
		got, err := s.Contacts.List(ctx, user)
		if err != nil || len(got) != maxPartners {
			t.Fatalf("%d contacts, %v", len(got), err)
		}
		newest := int64(1 + (most-1)%(2*maxPartners))
		if got[0].Partner != newest || got[0].Items[0] != fmt.Sprint("item ", most-1) {
			t.Errorf("the first one is %+v", got[0])
		}
	})
}

func TestItemsOfAContactAreBounded(t *testing.T) {
	var all []model.Contact
	for i := range maxItems {
		all = append(all, model.Contact{Role: model.Buyer, Partner: 1, Items: []string{fmt.Sprint(i), fmt.Sprint(-i)}})
	}
	got := byPartner(all)
	if len(got) != 1 || len(got[0].Items) != maxItems || len(slices.Compact(got[0].Items)) != maxItems {
		t.Errorf("%+v", got)
	}
}
