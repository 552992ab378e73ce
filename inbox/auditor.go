package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

var (
	//go:embed audit_notifications.lua
	auditNotificationsSource string
	//go:embed audit_subjects.lua
	auditSubjectsSource string
	//go:embed audit_messages.lua
	auditMessagesSource string

	auditNotificationsScript = script(auditNotificationsSource)
	auditSubjectsScript      = script(auditSubjectsSource)
	auditMessagesScript      = script(auditMessagesSource)
)

// auditMost is how many things one script compares.
const auditMost = 100

// A Finding is something of a user that is not as it should be.
type Finding struct {
	User    int64
	Set     string // where, such as "unread" or "open"
	Member  string
	Problem string // continues a sentence that begins with the member
}

// Rules returns the counters that a subject is in when its newest state has a rank,
// for its seller and for its buyer. known is false for subjects that have no states.
type Rules func(subject string, rank int) (seller, buyer model.Counter, known bool)

// Auditor compares counters with what they count.
type Auditor struct{ *base }

// Audit recomputes from what is stored what a user's counters are the sizes of, and
// returns what differs: unread notifications that are not listed, subjects in another
// counter than their newest state says, unread messages that are not counted or the
// reverse, messages without body or conversation, conversations that are not where
// their newest message is. With repair each difference is mended in the script that
// finds it; calling it again tells whether that was possible. Users may change
// meanwhile: every script compares what is there at one moment.
//
// It cannot tell whether a state was lost, which role a user has in an offer, or in a
// transaction that has left the contacts, and what the newest cart said.
func (a *Auditor) Audit(ctx context.Context, user int64, rules Rules, repair bool) ([]Finding, error) {
	u := &userAudit{base: a.base, k: a.keys(user), user: user, rules: rules, repair: repair}
	for _, check := range []func(context.Context) error{u.notifications, u.messages, u.subjects} {
		if err := check(ctx); err != nil {
			return u.found, fmt.Errorf("audit user %d: %w", user, err)
		}
	}
	return u.found, nil
}

// A userAudit is the audit of one user.
type userAudit struct {
	*base
	k      userKeys
	user   int64
	rules  Rules
	repair bool
	found  []Finding
}

// run has a script compare, and keeps what it finds.
func (u *userAudit) run(ctx context.Context, script *rdb.Script, keys []string, args ...any) error {
	repair := 0
	if u.repair {
		repair = 1
	}
	c := script.Command(ctx, keys, append([]any{repair}, args...)...)
	if err := u.batcher.Do(ctx, c); err != nil {
		return err
	}
	reply, err := c.StringSlice()
	if err != nil {
		return err
	}
	for i := 0; i+2 < len(reply); i += 3 {
		u.found = append(u.found, Finding{u.user, reply[i], reply[i+1], reply[i+2]})
	}
	return nil
}

func (u *userAudit) notifications(ctx context.Context) error {
	_, member := u.parts.Listing(u.user)
	keys := []string{u.k.meta(), u.k.notifications(), u.k.unread(), u.parts.Users(u.parts.OfUser(u.user))}
	ids, err := u.redis.ZRange(ctx, u.k.unread(), 0, -1).Result()
	if err != nil {
		return err
	}
	for first := 0; first == 0 || first < len(ids); first += auditMost {
		if err := u.run(ctx, auditNotificationsScript, keys, append([]any{member}, anys(ids[first:min(first+auditMost, len(ids))])...)...); err != nil {
			return err
		}
	}
	return nil
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}

// A chat is what messages there are to compare in one conversation.
type chat struct {
	partner string
	ids     map[string]bool
}

// messages compares all conversations that are named anywhere.
func (u *userAudit) messages(ctx context.Context) error {
	chats, err := u.chats(ctx)
	if err != nil {
		return err
	}
	for id, c := range chats {
		keys := []string{
			u.k.messages(id), u.k.receivedUnread(id), u.k.sentUnread(id), u.k.bodies(), u.k.counted(), u.k.conversations(), u.k.unreadConversations(),
			u.k.conversation(id), u.k.trash(),
		}
		ids := make([]string, 0, len(c.ids))
		for m := range c.ids {
			ids = append(ids, m)
		}
		slices.Sort(ids)
		for first := 0; first == 0 || first < len(ids); first += auditMost {
			some := anys(ids[first:min(first+auditMost, len(ids))])
			if err := u.run(ctx, auditMessagesScript, keys, append([]any{id, c.partner}, some...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// chats collects every message by its conversation, "" for counted ones that are in
// none.
func (u *userAudit) chats(ctx context.Context) (map[string]*chat, error) {
	chats := make(map[string]*chat)
	of := func(id string) *chat {
		if chats[id] == nil {
			chats[id] = &chat{ids: make(map[string]bool)}
		}
		return chats[id]
	}
	stored := make(map[string]bool)
	err := u.scan(ctx, u.k.bodies(), func(id, body string) error {
		m, err := parseMessage(id, body, false)
		if err != nil {
			return err
		}
		c := of(m.Conversation)
		c.partner, c.ids[id], stored[id] = strconv.FormatInt(m.Partner(u.user), 10), true, true
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, key := range []string{u.k.conversations(), u.k.unreadConversations()} {
		ids, err := u.redis.ZRange(ctx, key, 0, -1).Result()
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			of(id)
		}
	}
	for id, c := range chats {
		for _, key := range []string{u.k.messages(id), u.k.receivedUnread(id), u.k.sentUnread(id)} {
			ids, err := u.redis.ZRange(ctx, key, 0, -1).Result()
			if err != nil {
				return nil, err
			}
			for _, m := range ids {
				c.ids[m], stored[m] = true, true
			}
		}
	}
	class := strconv.Itoa(int(model.UnreadMessages))
	counted, err := u.redis.ZRangeByScore(ctx, u.k.counted(), &redis.ZRangeBy{Min: class, Max: class}).Result()
	if err != nil {
		return nil, err
	}
	for _, id := range counted {
		if !stored[id] {
			of("").ids[id] = true
		}
	}
	return chats, nil
}

// scan calls f with the fields of a hash.
func (u *userAudit) scan(ctx context.Context, key string, f func(field, value string) error) error {
	for cursor := uint64(0); ; {
		page, next, err := u.redis.HScan(ctx, key, cursor, "", auditMost).Result()
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(page); i += 2 {
			if err := f(page[i], page[i+1]); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// subjects compares the counters of transactions and offers with their states.
func (u *userAudit) subjects(ctx context.Context) error {
	if u.rules == nil {
		return nil
	}
	open, err := u.redis.ZRangeWithScores(ctx, u.k.counted(), 0, -1).Result()
	if err != nil {
		return err
	}
	in := make(map[string]model.Counter, len(open))
	for _, z := range open {
		if subject, _ := z.Member.(string); model.Counter(z.Score) != model.UnreadMessages {
			in[subject] = model.Counter(z.Score)
		}
	}
	roles, err := u.roles(ctx)
	if err != nil {
		return err
	}
	var suspects []any
	err = u.scan(ctx, u.k.meta(), func(field, state string) error {
		subject, ok := strings.CutPrefix(field, "r:")
		if !ok {
			return nil
		}
		class := in[subject]
		delete(in, subject)
		if want := u.wanted(subject, state, roles[subject], class); want != nil {
			suspects = append(suspects, subject, state, want)
		}
		return nil
	})
	for subject := range in {
		suspects = append(suspects, subject, "", "")
	}
	for some := range slices.Chunk(suspects, 3*auditMost) {
		if err := u.run(ctx, auditSubjectsScript, []string{u.k.meta(), u.k.counted(), u.k.unread()}, some...); err != nil {
			return err
		}
	}
	return err
}

// A role is what a user was in a transaction when a state came.
type role struct{ name, order string }

// roles returns the roles that the user has in the transactions of the contacts.
func (u *userAudit) roles(ctx context.Context) (map[string]role, error) {
	recent, err := u.redis.ZRangeWithScores(ctx, u.k.recentContacts(), 0, -1).Result() // mostContacts at most
	if err != nil {
		return nil, err
	}
	roles := make(map[string]role, len(recent))
	for _, z := range recent {
		field, _ := z.Member.(string)
		c, err := parseContact(field, "{}")
		if err != nil {
			return nil, err
		}
		r := role{model.Seller, strconv.FormatFloat(z.Score, 'f', 0, 64)}
		if c.Role == model.Seller {
			r.name = model.Buyer
		}
		roles[c.Transaction] = r
	}
	return roles, nil
}

// wanted is what audit_subject.lua is to compare the class of a subject with, or nil
// when it is right as far as can be told.
func (u *userAudit) wanted(subject, state string, r role, class model.Counter) any {
	words := strings.Split(state, " ")
	if len(words) != 4 {
		return nil
	}
	rank, err := strconv.Atoi(words[1])
	if err != nil {
		return nil
	}
	if r.order != words[0] { // the newest state did not say who is who
		r.name = ""
	}
	seller, buyer, known := u.rules(subject, rank)
	switch {
	case !known && class == model.NoCounter:
		return nil
	case !known:
		return int(model.NoCounter)
	case r.name == model.Seller:
		return int(seller)
	case r.name == model.Buyer:
		return int(buyer)
	case class == model.NoCounter || class == seller || class == buyer:
		return nil
	}
	return "" // neither of the two: nobody knows which
}
