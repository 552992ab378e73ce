package inbox

import (
	"context"
	_ "embed"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed audit_records.lua
var auditRecordsSource string
var auditRecordsScript = script(auditRecordsSource)

// recordMargin is how long before its expiry a record may be missing.
const recordMargin = time.Hour

// recent reports whether the event or message with an id must still have a record.
func (u *userAudit) recent(id string) bool {
	at, err := model.IDTime(id)
	return err == nil && at.After(u.now().Add(recordMargin-minRecordTTL))
}

// A listed is a notification in the list.
type listed struct{ id, seq, content string }

// notificationRecords finds notifications whose event has no record: if the event is
// repeated, it is listed again.
func (u *userAudit) notificationRecords(ctx context.Context) error {
	notes, err := u.recentNotifications(ctx)
	if err != nil || len(notes) == 0 {
		return err
	}
	recorded, err := u.recordedIDs(ctx) // after reading the list, because a listed notification has a record by then
	if err != nil {
		return err
	}
	twins := make(map[string]string)
	for _, n := range notes {
		if recorded[n.id] {
			twins[n.content] = n.id
		}
	}
	var suspects []any
	for _, n := range notes {
		if !recorded[n.id] {
			suspects = append(suspects, n.id, n.seq, twins[n.content])
		}
	}
	for some := range slices.Chunk(suspects, 3*auditBatch) {
		keys := []string{u.k.meta(), u.k.notifications(), u.k.unread(), u.k.counted()}
		if err := u.run(ctx, auditRecordsScript, keys, some...); err != nil {
			return err
		}
	}
	return nil
}

// recentNotifications returns the notifications in the list that must have a record.
func (u *userAudit) recentNotifications(ctx context.Context) (notes []listed, err error) {
	from := strconv.FormatInt(u.now().Add(recordMargin-minRecordTTL).UnixMicro(), 10)
	for {
		page, err := u.redis.XRangeN(ctx, u.k.notifications(), from, "+", auditBatch).Result()
		if err != nil {
			return nil, err
		}
		for _, m := range page {
			text := func(name string) string { s, _ := m.Values[name].(string); return s }
			if id := text("i"); u.recent(id) {
				notes = append(notes, listed{id, m.ID, text("t") + "\n" + text("r") + "\n" + text("b")})
			}
		}
		if len(page) < auditBatch {
			return notes, nil
		}
		from = "(" + page[len(page)-1].ID
	}
}

// recordedIDs returns the ids in all of the user's records.
func (u *userAudit) recordedIDs(ctx context.Context) (map[string]bool, error) {
	const head = 199 // offset of the last byte to read: the first line holds the id
	events, err := u.redis.ZRange(ctx, u.k.recordIndex(), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(events))
	for some := range slices.Chunk(events, auditBatch) {
		commands := make([]*rdb.Command, len(some))
		for i, event := range some {
			commands[i] = rdb.NewCommand(ctx, "getrange", u.k.record(event), 0, head)
		}
		if err := u.batcher.Do(ctx, commands...); err != nil {
			return nil, err
		}
		for _, c := range commands {
			text, err := c.Text()
			if err != nil {
				return nil, err
			}
			if fields := strings.Fields(text); len(fields) > 1 {
				ids[fields[1]] = true
			}
		}
	}
	return ids, nil
}

// messageRecords finds messages without a record: if the message is repeated, it is stored
// again. With repair it drops those that the sender has sent again under the same ClientID,
// after an error to the first attempt.
func (u *userAudit) messageRecords(ctx context.Context) error {
	var messages []Message
	err := u.scan(ctx, u.k.bodies(), func(id, body string) error {
		if strings.HasPrefix(id, readPrefix) {
			return nil
		}
		m, err := parseMessage(id, body, "", false)
		if err == nil && u.recent(id) {
			messages = append(messages, m)
		}
		return err
	})
	if err != nil {
		return err
	}
	recorded := make([]bool, 0, len(messages))
	for some := range slices.Chunk(messages, auditBatch) {
		commands := make([]*rdb.Command, len(some))
		for i, m := range some {
			commands[i] = rdb.NewCommand(ctx, "exists", u.k.record(MessageEvent(m.ID)))
		}
		if err := u.batcher.Do(ctx, commands...); err != nil {
			return err
		}
		for _, c := range commands {
			n, err := c.Int()
			if err != nil {
				return err
			}
			recorded = append(recorded, n == 1)
		}
	}
	return u.reportMessages(ctx, messages, recorded)
}

// reportMessages reports the messages without a record, and drops them with repair.
func (u *userAudit) reportMessages(ctx context.Context, messages []Message, recorded []bool) error {
	sentAgain := make(map[[2]string]bool) // by sender and ClientID
	of := func(m *Message) [2]string { return [2]string{strconv.FormatInt(m.Sender, 10), m.ClientID} }
	for i := range messages {
		if recorded[i] && messages[i].ClientID != "" {
			sentAgain[of(&messages[i])] = true
		}
	}
	conversations := &Conversations{base: u.base}
	for i, m := range messages {
		if recorded[i] {
			continue
		}
		// The message or the user may have been deleted since the bodies were read.
		still, err := u.redis.HExists(ctx, u.k.bodies(), m.ID).Result()
		if err != nil {
			return err
		}
		erased, err := u.redis.HExists(ctx, u.k.meta(), "erased").Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if !still || erased {
			continue
		}
		u.found = append(u.found, Finding{u.user, "messages", m.ID, "has no record"})
		if u.repair && sentAgain[of(&m)] {
			if err := u.batcher.Do(ctx, conversations.deleteCommand(ctx, u.k, m.Conversation, m)); err != nil {
				return err
			}
		}
	}
	return nil
}
