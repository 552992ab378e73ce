package inbox

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The audit finds data without a record, left by a script that stopped between its writes.
// It drops this data if a repeat of the event or message was stored.
func TestAuditFindsWhatHasNoRecord(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, redisClient redis.UniversalClient) {
		s, ctx := newStore(t, redisClient), t.Context()
		k, at := s.keys(user), time.Now()
		forget := func(event string) {
			t.Helper()
			if redisClient.Del(ctx, k.record(event)).Val() != 1 || redisClient.ZRem(ctx, k.recordIndex(), event).Val() != 1 {
				t.Fatalf("event %s has no record", event)
			}
		}
		var ids []string
		for _, event := range []string{"first", "second", "third"} { // events with the same content
			p := note(event, "transaction")
			p.Subject, p.State = "transaction:1", model.State{Order: at, Rank: 5, Counter: model.TransactionNews}
			ids = append(ids, store(t, s, p).ID)
		}
		forget("first")
		forget("second")
		sent := make([]*OutboundMessage, 2)
		for i, once := range []string{"first", "second"} {
			sent[i] = outbound(partner, user, "halo")
			sent[i].ClientID, sent[i].Once = "c1", once
			sent[i].ID = model.NewID(at.Add(time.Duration(i-2) * time.Second))
			if _, before, err := s.Outbound.StoreFirst(ctx, sent[i]); err != nil {
				t.Fatal(err)
			} else if err := s.Outbound.StoreSecond(ctx, sent[i], before); err != nil {
				t.Fatal(err)
			}
		}
		forget(MessageEvent(sent[0].ID))

		found, err := s.Auditor.Audit(ctx, user, sampleRules, true)
		want := map[string]string{ids[0]: "notes", ids[1]: "notes", sent[0].ID: "messages"}
		for _, f := range found {
			if want[f.Member] != f.Set || f.Problem != "has no record" {
				t.Errorf("found %+v", f)
			}
			delete(want, f.Member)
		}
		if err != nil || len(want) > 0 {
			t.Fatalf("not found: %v, %v", want, err)
		}
		if found, err := s.Auditor.Audit(ctx, user, sampleRules, false); len(found) > 0 || err != nil {
			t.Errorf("after the repair: %+v, %v", found, err)
		}
		if u := unreads(t, s); u.Notifications != 1 || u.TransactionNews != 1 || u.Messages != 1 {
			t.Errorf("unread %+v", u)
		}
		if got := list(t, s, 0, 10, "transaction"); len(got) != 1 || got[0].ID != ids[2] {
			t.Errorf("list %v", got)
		}

		forget("third") // now nothing tells which event the notification belongs to
		if found, _ := s.Auditor.Audit(ctx, user, sampleRules, true); len(found) != 1 || len(list(t, s, 0, 10, "transaction")) != 1 {
			t.Errorf("found %+v, list %v", found, list(t, s, 0, 10, "transaction"))
		}
		redisClient.Del(ctx, k.notifications(), k.unread(), k.counted(), k.meta(), k.bodies()) // so that the audit at the end finds nothing
		redisClient.Del(ctx, k.conversations(), k.unreadConversations(), k.receivedUnread(sent[0].Conversation), k.messages(sent[0].Conversation), k.conversation(sent[0].Conversation))
	})
}
