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

// auditBatch is how many ids or subjects one script compares.
const auditBatch = 100

// A Finding is an inconsistency in a user's data.
type Finding struct {
	User    int64
	Set     string // where, such as "unread" or "open"
	Member  string
	Problem string // continues a sentence that begins with the member
}

// Rules returns the counters of its seller and of its buyer that a subject is in when
// its newest state has the given rank. known is false for subjects that have no states.
type Rules func(subject string, rank int) (seller, buyer model.Counter, known bool)

// Auditor compares counters with the data that they count.
type Auditor struct{ *base }

// Audit recomputes a user's counters from the stored data, and returns the differences:
// unread notifications that are not in the list, subjects in another counter than that of
// their newest state, unread messages that are not counted and counted ones that are not
// unread, messages without a body or conversation, conversations in the wrong place of the
// list, notifications and messages without a record. With repair the script that finds a
// difference repairs it; a second call shows what could not be repaired. The user's data
// may change during an audit: every script compares the data of one moment.
//
// Audit cannot find a state that was lost, or a wrong number of items in the cart. It does
// not know a user's role in offers, nor in transactions that have left the contacts.
func (a *Auditor) Audit(ctx context.Context, user int64, rules Rules, repair bool) ([]Finding, error) {
	u := &userAudit{base: a.base, k: a.keys(user), user: user, rules: rules, repair: repair}
	for _, check := range []func(context.Context) error{u.notificationRecords, u.messageRecords, u.notifications, u.messages, u.subjects} {
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

// run executes a script and keeps its findings.
func (u *userAudit) run(ctx context.Context, script *rdb.Script, keys []string, args ...any) error {
	repair := 0
	if u.repair {
		repair = 1
	}
	c, err := u.batcher.Run(ctx, script, keys, append([]any{repair}, args...)...)
	if err != nil {
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
	for first := 0; first == 0 || first < len(ids); first += auditBatch {
		if err := u.run(ctx, auditNotificationsScript, keys, append([]any{member}, anys(ids[first:min(first+auditBatch, len(ids))])...)...); err != nil {
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

// auditedConversation holds the messages of one conversation that are compared.
type auditedConversation struct {
	partner string
	ids     map[string]bool
}

// messages compares all conversations that are mentioned anywhere.
func (u *userAudit) messages(ctx context.Context) error {
	conversations, err := u.conversations(ctx)
	if err != nil {
		return err
	}
	for id, c := range conversations {
		keys := []string{
			u.k.messages(id), u.k.receivedUnread(id), u.k.sentUnread(id), u.k.bodies(), u.k.counted(), u.k.conversations(), u.k.unreadConversations(),
			u.k.conversation(id), u.k.trash(),
		}
		ids := make([]string, 0, len(c.ids))
		for m := range c.ids {
			ids = append(ids, m)
		}
		slices.Sort(ids)
		for first := 0; first == 0 || first < len(ids); first += auditBatch {
			some := anys(ids[first:min(first+auditBatch, len(ids))])
			if err := u.run(ctx, auditMessagesScript, keys, append([]any{id, c.partner}, some...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// conversations collects all messages by conversation. Messages that are counted or read and
// in no conversation are under "".
func (u *userAudit) conversations(ctx context.Context) (map[string]*auditedConversation, error) {
	conversations := make(map[string]*auditedConversation)
	of := func(id string) *auditedConversation {
		if conversations[id] == nil {
			conversations[id] = &auditedConversation{ids: make(map[string]bool)}
		}
		return conversations[id]
	}
	stored := make(map[string]bool)
	var read []string
	err := u.scan(ctx, u.k.bodies(), func(id, body string) error {
		if id, ok := strings.CutPrefix(id, readPrefix); ok {
			read = append(read, id)
			return nil
		}
		m, err := parseMessage(id, body, "", false)
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
	for id, c := range conversations {
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
	score := strconv.Itoa(int(model.UnreadMessages))
	counted, err := u.redis.ZRangeByScore(ctx, u.k.counted(), &redis.ZRangeBy{Min: score, Max: score}).Result()
	if err != nil {
		return nil, err
	}
	for _, id := range append(read, counted...) {
		if !stored[id] {
			of("").ids[id] = true
		}
	}
	return conversations, nil
}

// scan calls f for each field of a hash.
func (u *userAudit) scan(ctx context.Context, key string, f func(field, value string) error) error {
	for cursor := uint64(0); ; {
		page, next, err := u.redis.HScan(ctx, key, cursor, "", auditBatch).Result()
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
		counter := in[subject]
		delete(in, subject)
		if want := u.wanted(subject, state, roles[subject], counter); want != nil {
			suspects = append(suspects, subject, state, want)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for subject := range in { // subjects without a value in meta
		suspects = append(suspects, subject, "", "")
	}
	for some := range slices.Chunk(suspects, 3*auditBatch) {
		if err := u.run(ctx, auditSubjectsScript, []string{u.k.meta(), u.k.counted(), u.k.unread()}, some...); err != nil {
			return err
		}
	}
	return nil
}

// A role is the role of the user in a transaction, and the order of the state that named
// it.
type role struct{ name, order string }

// roles returns the roles that the user has in the transactions of the contacts.
func (u *userAudit) roles(ctx context.Context) (map[string]role, error) {
	recent, err := u.redis.ZRangeWithScores(ctx, u.k.recentContacts(), 0, -1).Result() // at most maxContacts
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

// wanted returns the counter that a subject should be in, in the form of an argument of
// audit_subjects.lua, or nil when no error in the counter can be shown.
func (u *userAudit) wanted(subject, state string, r role, counter model.Counter) any {
	words := strings.Split(state, " ")
	if len(words) != 4 {
		return nil
	}
	rank, err := strconv.Atoi(words[1])
	if err != nil {
		return nil
	}
	if r.order != words[0] { // the newest state did not name the seller and the buyer
		r.name = ""
	}
	seller, buyer, known := u.rules(subject, rank)
	switch {
	case !known && counter == model.NoCounter:
		return nil
	case !known:
		return int(model.NoCounter)
	case r.name == model.Seller:
		return int(seller)
	case r.name == model.Buyer:
		return int(buyer)
	case counter == model.NoCounter || counter == seller || counter == buyer:
		return nil
	}
	return "" // it is in neither of the two, and the right one is unknown
}
