package inbox

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

func TestStorePublishesAndLogs(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		sub := rdb.Subscribe(ctx, s.keys(user).channel())
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		var prev string
		for i := range 3 {
			p := note(strconv.Itoa(i), "discount")
			results, errs := s.Notifications.Store(ctx, []NewNotification{p}, map[string][]int64{p.Event: {user}})
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
			stored := results[0]
			msg := (<-sub.Channel()).Payload
			head, body, _ := strings.Cut(msg, "\n")
			f := strings.Fields(head)
			if f[0] != "event" || f[1] != stored.Seq || i > 0 && f[2] != prev || f[3] != stored.ID || body != string(p.Body) {
				t.Errorf("frame %q after %s of %+v", msg, prev, stored)
			}
			prev = stored.Seq
		}
		p := note("unlisted", "message")
		p.Listed = false
		store(t, s, p)
		if listed, log := rdb.XLen(ctx, s.keys(user).notifications()).Val(), rdb.XLen(ctx, s.keys(user).replayLog()).Val(); listed != 3 || log != 1 {
			t.Errorf("%d frames in the list, %d in the log", listed, log)
		}
		records, err := s.Records.Find(ctx, "2")
		if err != nil || len(records) != 1 || !records[0].Live {
			t.Errorf("records %+v, %v: a socket was listening", records, err)
		}
	})
}

func TestSequenceNeverRunsBack(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		future := time.Now().Add(time.Hour).UnixMicro()
		rdb.HSet(context.Background(), s.keys(user).meta(), "seq", future)
		if got := store(t, s, note("e", "discount")).Seq; got != strconv.FormatInt(future+1, 10) {
			t.Errorf("seq %s after %d", got, future)
		}
	})
}
