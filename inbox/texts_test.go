package inbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
)

// A user's keys hold a reference to a broadcast's body. Lists, live frames and replays
// show the body.
func TestNotificationsReferToTexts(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, redisClient redis.UniversalClient) {
		ctx, s := t.Context(), newStore(t, redisClient)
		create(t, s, newCast("c", 7), 7)
		if _, errs := s.Notifications.Store(ctx, []NewNotification{{Receiver: 7, Event: "e", Content: "c", Type: "dompet", Listed: true, Body: []byte(`{"a":1}`)}}, nil); errs[0] != nil {
			t.Fatal(errs[0])
		}
		_, since, _, err := s.Live.Replay(ctx, 7, 0)
		if err != nil {
			t.Fatal(err)
		}
		sub := redisClient.Subscribe(ctx, s.Live.Channel(7))
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		w := hold(t, s, s.batcher, "c", "w", time.Hour)
		if err := w.Step(ctx, s.parts.OfUser(7), []Share{{User: 7, Put: told(s, "c", 7)}}); err != nil {
			t.Fatal(err)
		}
		message, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := model.ParseFrame(message.Payload); err != nil || f.Body != castBody {
			t.Errorf("frame %+v %v", f, err)
		}
		frames, _, known, err := s.Live.Replay(ctx, 7, since)
		if err != nil || !known || len(frames) != 1 || frames[0].Body != castBody {
			t.Errorf("replay %+v %t %v", frames, known, err)
		}
		stored := redisClient.XRevRangeN(ctx, s.keys(7).notifications(), "+", "-", 1).Val()
		if len(stored) != 1 || stored[0].Values["b"] != Reference("c") {
			t.Errorf("stored %v", stored)
		}
		entry := redisClient.XRange(ctx, s.parts.Key(s.parts.OfUser(7), "out"), "-", "+").Val()
		if len(entry) != 1 || !strings.HasSuffix(entry[0].Values["e"].(string), "\n"+Reference("c")) {
			t.Errorf("outbox %v", entry)
		}
		notes, err := s.Notifications.List(ctx, 7, []string{"campaign", "dompet"}, 0, 10)
		if err != nil || len(notes) != 2 || string(notes[0].Body) != castBody || string(notes[1].Body) != `{"a":1}` {
			t.Errorf("list %v %v", notes, err)
		}
		// One whose body is forgotten is left out.
		s.Texts.cache.known = nil
		if err := redisClient.Del(ctx, s.text(s.parts.OfUser(7), "c")).Err(); err != nil {
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

// The cache of texts is bounded.
func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	var kept textCache
	for i := range 2 * maxTexts {
		kept.put(fmt.Sprint(i), Text{})
	}
	if n := len(kept.known); n != maxTexts {
		t.Errorf("%d texts are kept, want %d", n, maxTexts)
	}
	if _, ok := kept.get(fmt.Sprint(2*maxTexts - 1)); !ok {
		t.Error("the newest one is not kept")
	}
}
