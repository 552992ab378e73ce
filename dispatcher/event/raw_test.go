package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/content"
	"github.com/kabar-gateway/kabar/inbox/model"
)

const (
	rawTransaction = `{"id":52001,"state":"paid","updated_at":"2014-01-23T13:48:51+07:00","buyer":{"id":52357,"name":"Liem Lie Wie"},"seller":{"id":66,"name":"Testing Account"},"actions":["receive"],"created_at":"2014-01-23T10:48:51+07:00"}`
	rawOffer       = `{"id":51588,"state":"waiting","nego_price":100,"buyer":{"id":15,"name":"Me Ow"},"seller":{"id":66,"name":"Testing Account"}}`
	rawProduct     = `{"id":"h","name":"g.kunci sinchan","seller_id":66,"created_at":"2015-09-02T13:42:56.000+07:00"}`
	rawMutation    = `{"id":102,"type":"Deposit::Debit","action":"payment","amount":48000,"transaction_id":92,"transaction_no":"160000000092","created_at":"2016-01-08T11:34:18.000+07:00","updated_at":"2016-01-08T11:34:18.000+07:00"}`
	rawWithdrawal  = `{"amount":25000,"bank_account_id":1,"created_at":"2016-01-16T00:03:25.000+07:00","deposit_id":1,"id":5,"processed_at":null,"state":"processed","updated_at":"2016-01-17T00:03:25.000+07:00"}`
)

// rawContent is what a receiver gets when a raw resource is published as an event.
type rawContent struct {
	Level    Level
	Counter  model.Counter
	Category string
	Body     string
}

func TestRawResources(t *testing.T) {
	const none = `"unread_items":null}}`
	for name, c := range map[string]struct {
		raw, id, kind string
		time          string
		want          map[int64]rawContent
	}{
		"a transaction": {
			`{"transaction":` + rawTransaction + `}`, "transaction-52001-paid-1390459731000", "transaction", "2014-01-23T13:48:51+07:00",
			map[int64]rawContent{
				66: {Pushed, model.SellerTransactions, "deliver_reject", `{"texts":{"en":"New transaction from Liem Lie Wie"},"type":"transaction","title":null,"message":"Transaksi baru dari Liem Lie Wie","details":{"id":52001,"transaction":` +
					strings.Replace(rawTransaction, `["receive"]`, `["deliver","reject"]`, 1) + `,` + none},
				52357: {Pushed, model.TransactionNews, "", `{"texts":{"en":"Your payment to Testing Account has been received"},"type":"transaction","title":null,"message":"Pembayaran Anda kepada Testing Account telah diterima","details":{"id":52001,"transaction":` +
					strings.Replace(rawTransaction, `["receive"]`, `[]`, 1) + `,` + none},
			},
		},
		"a step of the checkout": {
			`{"data":{"transaction":` + strings.Replace(rawTransaction, "paid", "payment_chosen", 1) + `}}`, "transaction-52001-payment_chosen-1390459731000", "transaction", "2014-01-23T13:48:51+07:00",
			map[int64]rawContent{66: {Level: Counted}, 52357: {Counted, model.BuyerTransactions, "pay", ""}},
		},
		"an offer in an array, for one of them": {
			`{"type":"nego","negotiation":[` + rawOffer + `],"receiver_id":66}`, "nego-51588-waiting", "nego", "",
			map[int64]rawContent{
				66: {Pushed, model.SellerOffers, "accept_reject", `{"texts":{"en":"You have received an offer from Me Ow"},"type":"nego","title":null,"message":"Anda mendapatkan tawaran nego dari Me Ow","details":` +
					strings.TrimSuffix(rawOffer, "}") + `,"actions":["accept","reject"],` + none},
			},
		},
		"an offer, worded by the service": {
			`{"id":"x","time":"2014-01-23T13:48:51+07:00","title":"T","message":"M","negotiation":` + strings.Replace(rawOffer, "waiting", "expired", 1) + `,"receiver_ids":[15]}`, "x", "nego", "2014-01-23T13:48:51+07:00",
			map[int64]rawContent{
				15: {Muted, 0, "", `{"type":"nego","title":"T","message":"M","details":` +
					strings.Replace(strings.TrimSuffix(rawOffer, "}"), "waiting", "expired", 1) + `,"actions":[],` + none},
			},
		},
		"a reported product": {
			`{"time":"2015-09-03T13:42:56+07:00","product":` + rawProduct + `}`, "report-h-1441262576000", "report", "2015-09-03T13:42:56+07:00",
			map[int64]rawContent{66: {Pushed, 0, "", `{"texts":{"en":"g.kunci sinchan has been reported"},"type":"report","title":null,"message":"g.kunci sinchan telah dilaporkan","details":{"product":` + rawProduct + `,` + none}},
		},
		"a mutation": {
			`{"receiver_id":66,"mutation":` + rawMutation + `}`, "mutation-102-payment-1452227658000", "dompet", "2016-01-08T11:34:18+07:00",
			map[int64]rawContent{66: {Pushed, 0, "", `{"texts":{"en":"A payment of 48000 has been taken from your balance"},"type":"dompet","title":null,"message":"Pembayaran sebesar 48000 telah diambil dari saldo Anda","details":{"id":"102","amount":48000,"action":"payment","transaction_id":92,"transaction_no":"160000000092",` + none}},
		},
		"a mutation with its receiver": {
			`{"receiver_id":66,` + rawMutation[1:], "mutation-102-payment-1452227658000", "dompet", "2016-01-08T11:34:18+07:00",
			map[int64]rawContent{66: {Pushed, 0, "", `{"texts":{"en":"A payment of 48000 has been taken from your balance"},"type":"dompet","title":null,"message":"Pembayaran sebesar 48000 telah diambil dari saldo Anda","details":{"id":"102","amount":48000,"action":"payment","transaction_id":92,"transaction_no":"160000000092",` + none}},
		},
		"a mutation without a transaction": {
			`{"receiver_id":66,"mutation":{"id":103,"action":"topup","amount":5000,"transaction_id":null,"transaction_no":{},"created_at":"2016-01-08T11:34:18.000+07:00"}}`,
			"mutation-103-topup-1452227658000", "dompet", "2016-01-08T11:34:18+07:00",
			map[int64]rawContent{66: {Pushed, 0, "", `{"texts":{"en":"A top-up of 5000 has been added to your balance"},"type":"dompet","title":null,"message":"Top up sebesar 5000 telah masuk ke saldo Anda","details":{"id":"103","amount":5000,"action":"topup",` + none}},
		},
		"a withdrawal": {
			`{"receiver_id":66,"withdrawal":` + rawWithdrawal + `}`, "withdrawal-5-processed-1452963805000", "dompet", "2016-01-17T00:03:25+07:00",
			map[int64]rawContent{66: {Pushed, 0, "", `{"texts":{"en":"Funds of 25000 have been disbursed"},"type":"dompet","title":null,"message":"Dana sebesar 25000 telah dicairkan","details":{"id":"5","amount":25000,"state":"processed",` + none}},
		},
		"a withdrawal with its receiver": {
			`{"receiver_id":66,` + rawWithdrawal[1:], "withdrawal-5-processed-1452963805000", "dompet", "2016-01-17T00:03:25+07:00",
			map[int64]rawContent{66: {Pushed, 0, "", `{"texts":{"en":"Funds of 25000 have been disbursed"},"type":"dompet","title":null,"message":"Dana sebesar 25000 telah dicairkan","details":{"id":"5","amount":25000,"state":"processed",` + none}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := testParser()
			e, err := p.Parse([]byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != c.id || e.Type != c.kind {
				t.Errorf("id %s, type %s", e.ID, e.Type)
			}
			if at, _ := time.Parse(time.RFC3339, c.time); !e.time.Equal(at) {
				t.Errorf("time %v", e.time)
			}
			got := make(map[int64]rawContent)
			for _, receiver := range e.Receivers {
				c := e.ContentFor(receiver)
				body := storedBody(e, c)
				got[receiver] = rawContent{c.Level, c.Counter, c.Category, string(body)}
				if len(body) > 0 && !json.Valid(body) {
					t.Errorf("%d: %s", receiver, body)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Two reports of one product are two events, unless the service gives both the same id or
// time.
func TestReportsOfOneProduct(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string // members before the product
		same bool   // whether sending it again repeats the same event
	}{
		"nothing":      {"", false},
		"an id":        {`"id":"x",`, true},
		"a time":       {`"time":"2015-09-03T13:42:56+07:00",`, true},
		"a null":       {`"time":null,`, false},
		"a title only": {`"title":"T",`, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := testParser()
			var ids [2]string
			for i := range ids {
				e, err := p.Parse([]byte(`{` + c.raw + `"product":` + rawProduct + `}`))
				if err != nil {
					t.Fatal(err)
				}
				ids[i] = e.ID
			}
			if same := ids[0] == ids[1]; same != c.same {
				t.Errorf("ids %q", ids)
			}
		})
	}
}

func TestRawResourcesNameWhatIsWrong(t *testing.T) {
	const user = "must be a user id: a positive whole number without leading zeros"
	id := fmt.Sprintf("must be a string or number of 1 to %d bytes, printable, without spaces", maxResourceID)
	without := func(resource string, members ...string) string {
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(resource), &object); err != nil {
			t.Fatal(err)
		}
		for _, name := range members {
			delete(object, name)
		}
		b, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct {
		raw  string
		want map[string]string
	}{
		{`{"transaction":7}`, map[string]string{
			"transaction": "must be a JSON object", "transaction.id": id, "transaction.state": "is required",
			"transaction.seller.id": user, "transaction.buyer.id": user,
		}},
		{`{"negotiation":[]}`, map[string]string{
			"negotiation": "must be a JSON object", "negotiation.id": id, "negotiation.state": "is required",
			"negotiation.seller.id": user, "negotiation.buyer.id": user,
		}},
		{`{"transaction":` + strings.Replace(rawTransaction, "paid", "payed", 1) + `}`, map[string]string{"transaction.state": "is not a known state"}},
		{`{"transaction":` + strings.Replace(rawTransaction, "52357", "66", 1) + `}`, map[string]string{"transaction.buyer.id": "must not be the seller's"}},
		{`{"transaction":` + strings.Replace(rawTransaction, "52001", `"a b"`, 1) + `}`, map[string]string{"transaction.id": id}},
		{`{"transaction":` + strings.Replace(rawTransaction, "2014-01-23T13:48:51+07:00", "yesterday", 1) + `}`, map[string]string{"transaction.updated_at": "must be a time as in RFC 3339, such as 2014-01-23T13:48:51+07:00"}},
		{`{"transaction":` + rawTransaction + `,"receiver_id":7}`, map[string]string{"receiver_id": "is nobody whom this concerns"}},
		{`{"transaction":` + rawTransaction + `,"receiver_id":"x"}`, map[string]string{"receiver_id": user}},
		{`{"negotiation":` + without(rawOffer, "seller") + `}`, map[string]string{"negotiation.seller.id": user}},
		{`{"product":` + without(rawProduct, "seller_id", "name") + `}`, map[string]string{"product.seller_id": user, "product.name": "is required"}},
		{`{"mutation":` + rawMutation + `}`, map[string]string{"receiver_id": "is required"}},
		{`{"receiver_id":66,"mutation":` + without(rawMutation, "amount", "action") + `}`, map[string]string{
			"mutation.action": "is required", "mutation.amount": "must be an amount of money, such as 25000",
		}},
		{`{"receiver_id":66,` + strings.Replace(rawMutation, "payment", "theft", 1)[1:], map[string]string{"action": "is not a known action"}},
		{`{"receiver_id":66,"withdrawal":` + strings.Replace(rawWithdrawal, "25000", `"x"`, 1) + `}`, map[string]string{"withdrawal.amount": "must be an amount of money, such as 25000"}},
		// These are complete events. The rules word some of them.
		{`{"type":"transaction","receiver_id":7,"details":{"transaction":` + rawTransaction + `}}`, map[string]string{"message": "is required for those who are neither seller nor buyer"}},
		{`{"type":"transaction","receiver_id":66,"details":{"id":1}}`, map[string]string{"message": "is required"}},
		{`{"type":"dompet","receiver_id":66,"details":{"id":"5","state":"processed"}}`, map[string]string{"message": "is required"}},
		{`{"type":"dompet","receiver_id":66,"details":{"id":"5","amount":25000,"state":"lost"}}`, map[string]string{"message": "is required"}},
		{`{"type":"report","receiver_id":66,"details":{"product":{"id":1}}}`, map[string]string{"message": "is required"}},
	} {
		p := testParser()
		_, err := p.Parse([]byte(c.raw))
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%.100s: error %v", c.raw, err)
			continue
		}
		if diff := cmp.Diff(c.want, invalid.Fields); diff != "" {
			t.Errorf("%.100s:\n%s", c.raw, diff)
		}
	}
}

// An event that has a state but no message gets the text of the rules for the receiver's
// role, and its details stay as they are. An event that has a message is pushed with it,
// unless it is an expired offer.
func TestEventsThatTheRulesWord(t *testing.T) {
	full := func(kind, details, more string) string {
		return `{"type":"` + kind + `","receiver_ids":[66,15]` + more + `,"details":` + details + `}`
	}
	for name, c := range map[string]struct {
		raw    string
		seller string // message and level
		buyer  string
	}{
		"a state":             {full("nego", rawOffer, ""), "Anda mendapatkan tawaran nego dari Me Ow 3", "Tawaran nego Anda menunggu jawaban Testing Account 2"},
		"a state, worded":     {full("nego", rawOffer, `,"message":"M"`), "M 3", "M 3"},
		"an expired offer":    {full("nego", strings.Replace(rawOffer, "waiting", "expired", 1), `,"message":"M"`), "M 1", "M 1"},
		"somebody unnamed":    {full("nego", `{"id":1,"state":"waiting","seller":{"id":66,"name":"\u0007"},"buyer":{"id":15,"username":"meow"}}`, ""), "Anda mendapatkan tawaran nego dari meow 3", "Tawaran nego Anda menunggu jawaban pengguna lain 2"},
		"money":               {full("dompet", `{"id":"5","amount":25000,"state":"processed"}`, ""), "Dana sebesar 25000 telah dicairkan 3", "Dana sebesar 25000 telah dicairkan 3"},
		"money, by an action": {full("dompet", `{"id":"5","amount":"25000","action":"topup"}`, ""), "Top up sebesar 25000 telah masuk ke saldo Anda 3", "Top up sebesar 25000 telah masuk ke saldo Anda 3"},
		"a report":            {full("report", `{"product":{"id":1,"name":"g.kunci sinchan"}}`, ""), "g.kunci sinchan telah dilaporkan 3", "g.kunci sinchan telah dilaporkan 3"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testParser()
			e, err := p.Parse([]byte(c.raw))
			if err != nil {
				t.Fatal(err)
			}
			for receiver, want := range map[int64]string{66: c.seller, 15: c.buyer} {
				c := e.ContentFor(receiver)
				if got := fmt.Sprint(c.Message, " ", c.Level); got != want {
					t.Errorf("%d gets %q, want %q", receiver, got, want)
				}
			}
		})
	}
}

// Receivers of the same content share its bytes, however many they are.
func TestReceiversShareContent(t *testing.T) {
	ids := make([]string, MaxReceivers)
	for i := range ids {
		ids[i] = fmt.Sprint(i + 1)
	}
	p := testParser()
	for _, raw := range []string{
		`{"type":"discount","message":"m","receiver_ids":[` + strings.Join(ids, ",") + `]}`,
		`{"type":"nego","message":"m","details":` + rawOffer + `,"receiver_ids":[` + strings.Join(ids, ",") + `]}`,
	} {
		e, err := p.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		first := &e.ContentFor(1).Details[0]
		for _, receiver := range e.Receivers {
			if &e.ContentFor(receiver).Details[0] != first {
				t.Fatalf("%s: %d has details of their own", e.Type, receiver)
			}
		}
	}
}

// storedBody returns the body that the inbox stores for a content, or nil if the content is
// only counted.
func storedBody(e *Event, c *RoleContent) []byte {
	if c.Level == Counted {
		return nil
	}
	body := content.Body{Type: e.Type, Title: e.Title, Message: c.Message, Translations: c.Translations, Details: c.Details}
	return body.Stored()
}
