package broadcast

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A user's keys hold only a short reference to a broadcast's body, however long the body
// is. Lists, live frames and replays show the whole body.
func TestReference(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, client redis.UniversalClient) {
		ctx, g := t.Context(), newGateway(t, client)
		g.know(7)
		g.create(newTestRecord("c", 7))
		s := g.inbox
		if _, errs := s.Notifications.Store(ctx, []inbox.NewNotification{{Receiver: 7, Event: "e", Content: "c", Type: "dompet", Listed: true, Body: []byte(`{"a":1}`)}}, nil); errs[0] != nil {
			t.Fatal(errs[0])
		}
		_, since, _, err := s.Live.Replay(ctx, 7, 0)
		if err != nil {
			t.Fatal(err)
		}
		sub := client.Subscribe(ctx, s.Live.Channel(7))
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		w := g.hold(g.store.batcher, "w", time.Hour)
		if err := w.step(ctx, g.partitions.OfUser(7), []candidate{{user: 7, notification: g.notification("c", 7)}}); err != nil {
			t.Fatal(err)
		}
		message, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := model.ParseFrame(message.Payload); err != nil || f.Body != testBody {
			t.Errorf("frame %+v %v", f, err)
		}
		frames, _, known, err := s.Live.Replay(ctx, 7, since)
		if err != nil || !known || len(frames) != 1 || frames[0].Body != testBody {
			t.Errorf("replay %+v %t %v", frames, known, err)
		}
		stored := client.XRevRangeN(ctx, g.partitions.UserKey(7, "notes"), "+", "-", 1).Val()
		if len(stored) != 1 || stored[0].Values["b"] != inbox.Reference("c") {
			t.Errorf("stored %v", stored)
		}
		entry := client.XRange(ctx, g.outbox.StreamKey(g.partitions.OfUser(7), push.Bulk), "-", "+").Val()
		if len(entry) != 1 || !strings.HasSuffix(entry[0].Values["e"].(string), "\n"+inbox.Reference("c")) {
			t.Errorf("outbox %v", entry)
		}
		notes, err := s.Notifications.List(ctx, 7, []string{"campaign", "dompet"}, 0, 10)
		if err != nil || len(notes) != 2 || string(notes[0].Body) != testBody || string(notes[1].Body) != `{"a":1}` {
			t.Errorf("list %v %v", notes, err)
		}
		// The list leaves out a notification whose body has expired.
		s = inbox.New(s.Options()) // stands for a process that has not cached the body
		if err := client.Del(ctx, s.Texts.Key(g.partitions.OfUser(7), "c")).Err(); err != nil {
			t.Fatal(err)
		}
		if notes, err = s.Notifications.List(ctx, 7, []string{"campaign", "dompet"}, 0, 10); err != nil || len(notes) != 1 {
			t.Errorf("list %v %v", notes, err)
		}
		if frames, _, _, err = s.Live.Replay(ctx, 7, since); err != nil || len(frames) != 1 || frames[0].Body != "" {
			t.Errorf("replay %+v %v", frames, err)
		}
	})
}
