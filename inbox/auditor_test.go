package inbox

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// sampleRules knows only state 5. It asks the seller to act and is news to the buyer.
func sampleRules(subject string, rank int) (seller, buyer model.Counter, known bool) {
	return model.SellerTransactions, model.TransactionNews, strings.HasPrefix(subject, "transaction:") && rank == 5
}

// The audit finds, describes and repairs every inconsistency between the sets.
func TestAudit(t *testing.T) {
	damages := []struct {
		name, want string
		do         func(ctx context.Context, s *Store, k userKeys, note, message string)
	}{
		{"unread without a note", "unread zzz is in no list", func(ctx context.Context, s *Store, k userKeys, note, _ string) {
			s.redis.ZAdd(ctx, k.unread(), redis.Z{Score: 5, Member: "zzz"})
		}},
		{"fewer kept than there are", "meta kept is less", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.HSet(ctx, k.meta(), "kept", 0)
		}},
		{"a user who is not listed", "users", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			users, member := s.parts.Listing(user)
			s.redis.ZRem(ctx, users, member)
		}},
		{"a message without a body", "messages", func(ctx context.Context, s *Store, k userKeys, _, m string) {
			s.redis.HDel(ctx, k.bodies(), m)
		}},
		{"a body without a conversation", "bodies", func(ctx context.Context, s *Store, k userKeys, _, m string) {
			s.redis.ZRem(ctx, k.messages(model.ConversationID(user, partner)), m)
		}},
		{"a reading of no message", "is of no message", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.HSet(ctx, k.bodies(), readPrefix+model.NewID(time.Now()), 1)
		}},
		{"an unread message that is not counted", "is unread and not counted", func(ctx context.Context, s *Store, k userKeys, _, m string) {
			s.redis.ZRem(ctx, k.counted(), m)
		}},
		{"a counted message that is read", "is counted and not unread", func(ctx context.Context, s *Store, k userKeys, _, m string) {
			s.redis.ZRem(ctx, k.receivedUnread(model.ConversationID(user, partner)), m)
		}},
		{"a counted message of none", "is counted and not unread", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZAdd(ctx, k.counted(), redis.Z{Score: float64(model.UnreadMessages), Member: model.NewID(time.Now())})
		}},
		{"a conversation out of the inbox", "inboxes", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZRem(ctx, k.conversations(), model.ConversationID(user, partner))
		}},
		{"a conversation out of the unread ones", "inboxes:unread", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZRem(ctx, k.unreadConversations(), model.ConversationID(user, partner))
		}},
		{"a conversation that is not in order", "is not where its newest message is", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZAdd(ctx, k.conversations(), redis.Z{Score: 1, Member: model.ConversationID(user, partner)})
		}},
		{"a conversation with nobody", "does not say with whom", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.Del(ctx, k.conversation(model.ConversationID(user, partner)))
		}},
		{"a subject in another counter", "has class 4, should have 1", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZAdd(ctx, k.counted(), redis.Z{Score: float64(model.SellerOffers), Member: "transaction:1"})
		}},
		{"a subject that is not counted", "has class 0, should have 1", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZRem(ctx, k.counted(), "transaction:1")
		}},
		{"news without an unread notification", "has class 3, should have 0", func(ctx context.Context, s *Store, k userKeys, note, _ string) {
			s.redis.ZRem(ctx, k.unread(), note)
		}},
		{"a subject without a state", "has no state", func(ctx context.Context, s *Store, k userKeys, _, _ string) {
			s.redis.ZAdd(ctx, k.counted(), redis.Z{Score: float64(model.SellerOffers), Member: "nego:9"})
		}},
	}
	for _, d := range damages {
		t.Run(strings.ReplaceAll(d.name, " ", "_"), func(t *testing.T) {
			localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
				ctx := context.Background()
				s := newStore(t, rdb)
				message := outbound(partner, user, "halo")
				carry(t, s, message)
				var news StoreResult
				for subject, counter := range map[string]model.Counter{"transaction:1": model.SellerTransactions, "transaction:2": model.TransactionNews} {
					p := note(subject, "transaction")
					p.Subject, p.State = subject, model.State{Order: time.Now(), Rank: 5, Counter: counter}
					role := model.Buyer // the role of the partner
					if counter == model.TransactionNews {
						role = model.Seller
					}
					p.Contact = &model.Contact{Role: role, Partner: partner, Transaction: subject}
					if stored := store(t, s, p); counter == model.TransactionNews {
						news = stored
					}
				}
				look := func(repair bool) []Finding {
					found, err := s.Auditor.Audit(ctx, user, sampleRules, repair)
					if err != nil {
						t.Fatal(err)
					}
					return found
				}
				if found := look(false); len(found) > 0 {
					t.Fatalf("before: %+v", found)
				}
				d.do(ctx, s, s.keys(user), news.ID, message.ID)
				found := look(true)
				told := false
				for _, f := range found {
					told = told || strings.Contains(f.Set+" "+f.Member+" "+f.Problem, d.want)
				}
				if !told {
					t.Errorf("found %+v, want %s", found, d.want)
				}
				if found := look(false); len(found) > 0 {
					t.Errorf("not repaired: %+v", found)
				}
			})
		})
	}
}

// A message that has no body and was not counted is removed by one repair, which does not
// count it.
func TestRepairDoesNotCountMissingMessages(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := newStore(t, rdb)
		m := outbound(partner, user, "halo")
		carry(t, s, m)
		rdb.HDel(ctx, s.keys(user).bodies(), m.ID)
		rdb.ZRem(ctx, s.keys(user).counted(), m.ID)
		if _, err := s.Auditor.Audit(ctx, user, nil, true); err != nil {
			t.Fatal(err)
		}
		if u, err := s.Counters.Unreads(ctx, user); err != nil || u.Messages != 0 {
			t.Errorf("%d unread messages, %v", u.Messages, err)
		}
		if found, err := s.Auditor.Audit(ctx, user, nil, false); err != nil || len(found) > 0 {
			t.Errorf("not repaired: %+v, %v", found, err)
		}
	})
}

// before is a hook that is called before each command that is not in a pipeline.
type before func(cmd redis.Cmder)

func (before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b before) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		b(cmd)
		return next(ctx, cmd)
	}
}

func (before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A message that arrives between two reads of an audit, after the bodies and before the
// counted messages, is not repaired.
func TestRepairLeavesWhatArrivesMeanwhile(t *testing.T) {
	for name, known := range map[string]bool{"in a conversation that was read": true, "in a new conversation": false} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
				ctx := context.Background()
				s := newStore(t, rdb)
				if known {
					carry(t, s, outbound(partner, user, "satu"))
				}
				m, arrived := outbound(partner, user, "dua"), false
				rdb.AddHook(before(func(cmd redis.Cmder) {
					if cmd.Name() == "zrangebyscore" && !arrived {
						arrived = true
						carry(t, s, m)
					}
				}))
				found, err := s.Auditor.Audit(ctx, user, nil, true)
				if err != nil || len(found) > 0 || !arrived {
					t.Errorf("found %+v, %v; arrived: %v", found, err, arrived)
				}
				if _, err := s.Conversations.Message(ctx, user, m.ID); err != nil {
					t.Errorf("the message: %v", err)
				}
				if found, err := s.Auditor.Audit(ctx, user, nil, false); err != nil || len(found) > 0 {
					t.Errorf("afterwards: %+v, %v", found, err)
				}
			})
		})
	}
}
