package inbox

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A wrapping script decides whether a notification is stored. If it is, it is stored as by
// Store, which then sees it as a duplicate. Live sockets and lists show the text that the
// body refers to.
func TestWrap(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, s := t.Context(), newStore(t, client)
		wrapped := s.Notifications.Wrap("local function wanted(s) return s == 'yes' end\n" +
			"if not wanted(ARGV[#ARGV]) then return 'no' end\nredis.call('SET', KEYS[#KEYS], '1')\nlive_body = 'shown'\nreturn store_notification()[1]")
		if err := s.Texts.Store(ctx, "c", Text{Body: []byte(`{"a":1}`)}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		sub := client.Subscribe(ctx, s.Live.Channel(7))
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		n := NewNotification{Receiver: 7, Event: "e", Content: "c", Type: "campaign", Listed: true, Body: []byte(Reference("c"))}
		key := s.parts.UserKey(7, "test")
		for _, c := range []struct{ arg, want string }{{"maybe", "no"}, {"yes", "1"}, {"yes", "0"}} {
			command := wrapped.Command(ctx, &n, []string{key}, c.arg)
			if err := s.batcher.Do(ctx, command); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(command.Val()); got != c.want {
				t.Errorf("%s: reply %s, want %s", c.arg, got, c.want)
			}
			if exists := client.Exists(ctx, key).Val() == 1; exists != (c.arg == "yes") {
				t.Errorf("%s: the key of the wrapping script exists: %t", c.arg, exists)
			}
		}
		message, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := model.ParseFrame(message.Payload); err != nil || f.Body != "shown" {
			t.Errorf("frame %+v, %v", f, err)
		}
		if notes, err := s.Notifications.List(ctx, 7, []string{"campaign"}, 0, 10); err != nil || len(notes) != 1 || string(notes[0].Body) != `{"a":1}` {
			t.Errorf("list %v, %v", notes, err)
		}
		results, errs := s.Notifications.Store(ctx, []NewNotification{n}, nil)
		if errs[0] != nil || !results[0].Duplicate {
			t.Errorf("store: %+v, %v", results[0], errs[0])
		}
	})
}
