package inbox

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestLocate(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		origin := note("with origin", "discount")
		origin.Origin = `{"s":"shop","e":"an id"}`
		cast := note("cast", "campaign")
		cast.Body = []byte(Reference("cast"))
		theirs := note("theirs", "discount")
		theirs.Receiver = partner
		expired := note("expired", "nego")
		var ids []string
		for _, p := range []NewNotification{origin, cast, expired, theirs} {
			ids = append(ids, store(t, s, p).ID)
		}
		if err := s.Texts.Store(ctx, "cast", Text{Body: []byte(`{"type":"campaign"}`)}, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		rdb.Rename(ctx, s.Records.Key(user, "expired"), s.Records.Key(user, "elsewhere"))
		received, sent := carry(t, s, outbound(partner, user, "halo")), carry(t, s, outbound(user, partner, "hai"))
		ids = append(ids, received, sent, "no id", model.NewID(time.Now()))

		got, err := s.Notifications.Locate(ctx, user, ids)
		if err != nil {
			t.Fatal(err)
		}
		if m := got[received].Message; m == nil || m.Sender != partner || m.ID != received {
			t.Errorf("message %+v", m)
		}
		want := map[string]Located{
			ids[0]:   {ID: ids[0], Type: "discount", Event: "with origin", Origin: origin.Origin},
			ids[1]:   {ID: ids[1], Type: "campaign", Event: "cast", Broadcast: "cast"},
			ids[2]:   {ID: ids[2], Type: "nego"},
			received: {ID: received, Event: MessageEvent(received), Message: got[received].Message},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		rdb.Rename(ctx, s.Records.Key(user, "elsewhere"), s.Records.Key(user, "expired"))
	})
}

// Events that were accepted in the same millisecond are told apart by their records.
func TestLocateAtTheSameTime(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Now().Truncate(time.Millisecond)
		s := newStore(t, rdb, func(o *Options) { o.Now = func() time.Time { return now } })
		a, b := store(t, s, note("a", "discount")), store(t, s, note("b", "discount"))
		got, err := s.Notifications.Locate(context.Background(), user, []string{a.ID, b.ID})
		if err != nil || got[a.ID].Event != "a" || got[b.ID].Event != "b" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestReceiptsOfRecords(t *testing.T) {
	at := time.UnixMilli(1390459731123)
	text := `c id 1 0 waiting {"e":"an id"}` + "\n" + DeviceOutcome("d", `{"o":"accepted"}`) + PushOutcome("done") +
		ReceiptLine("d", "opened") + "1390459731123\n" + ReceiptLine("", "delivered") + "1390459731123\n" + "receipt d broken\n"
	want := Record{
		Receiver: user, Content: "c", ID: "id", Push: "done", Origin: `{"e":"an id"}`, Devices: map[string]string{"d": `{"o":"accepted"}`},
		Receipts: []Receipt{{"d", "opened", at}, {"", "delivered", at}},
	}
	if diff := cmp.Diff(want, newRecord(user, text)); diff != "" {
		t.Error(diff)
	}
}
