package inbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestRecords(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		if _, err := s.Records.Find(ctx, "none"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown event: %v", err)
		}
		a, b := note("e", "discount"), note("e", "discount")
		b.Receiver = 7
		// When two requests store the same event, the record has the receivers of both.
		first, errs := s.Notifications.Store(ctx, []NewNotification{a}, map[string][]int64{"e": {user}})
		second, more := s.Notifications.Store(ctx, []NewNotification{b}, map[string][]int64{"e": {7, 7}})
		if err := errors.Join(append(errs, more...)...); err != nil {
			t.Fatal(err)
		}
		rdb.Append(ctx, s.Records.Key(7, "e"), DeviceOutcome("d1", "an outcome")+DeviceOutcome("d1", "the last outcome")+PushOutcome("done"))
		got, err := s.Records.Find(ctx, "e")
		want := []Record{
			{Receiver: 7, Content: "c", ID: second[0].ID, Push: "done", Devices: map[string]string{"d1": "the last outcome"}},
			{Receiver: user, Content: "c", ID: first[0].ID, Push: "none", Devices: map[string]string{}},
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if ttl := rdb.PTTL(ctx, s.Records.Key(7, "e")).Val(); ttl <= 6*24*time.Hour {
			t.Errorf("a record is forgotten after %v", ttl)
		}
	})
}
