package dispatcher

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Redis' clock, and not the gateways' clocks, orders events without a time and limits the
// life of their pushes.
func TestGatewaysWhoseClocksDiffer(t *testing.T) {
	t.Parallel()
	apart := func(by time.Duration) func(*Options) {
		return func(o *Options) { o.Now = func() time.Time { return time.Now().Add(by) } }
	}
	for name, by := range map[string]time.Duration{"ahead": 5 * time.Minute, "behind": -5 * time.Minute} {
		t.Run(name+" first", func(t *testing.T) {
			t.Parallel()
			first, second := newChat(t, apart(by)), newChat(t, apart(-by))
			first.register(66, devices.Android, "token")
			state := func(w *world, state string) {
				w.publish(fmt.Sprintf(`{"id":%q,"type":"transaction","receiver_id":66,"message":%q,"options":{"ttl":"1m"},
					"details":{"id":1,"state":%q,"seller":{"id":66},"buyer":{"id":15}}}`, state, state, state))
			}
			state(first, "paid")
			state(second, "delivered")
			first.publish(`{"id":"cart-3","type":"cart","receiver_id":66,"details":{"cart_items":3}}`)
			second.publish(`{"id":"cart-4","type":"cart","receiver_id":66,"details":{"cart_items":4}}`)
			u, err := first.opts.Inbox.Counters.Unreads(context.Background(), 66)
			if err != nil || u.SellerTransactions != 0 || u.CartItems != 4 {
				t.Errorf("%+v, %v: want no transaction that asks the seller, and 4 items", u, err)
			}
			first.send(15, 66, "first message")
			second.send(15, 66, "second message")

			stop := first.run()
			defer stop()
			// delivered supersedes paid, and the second message supersedes the first.
			sent := first.android.wait(t, "pushes", func(sent []push.Delivery) bool {
				return len(sent) >= 2
			})
			stop()
			for _, d := range sent {
				if left := d.Expires.Sub(first.opts.Now()); d.Type == "transaction" && (left > time.Minute || left <= 0) {
					t.Errorf("a push with a TTL of a minute lives %v by the sender's clock", left)
				}
			}
			first.settled()
		})
	}
}
