package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed store_text.lua
var storeTextSource string
var storeTextScript = rdb.NewScript(storeTextSource)

// A Text is the content that all notifications of a broadcast share.
type Text struct {
	Body     []byte // JSON object: type, title, message, details
	Audience []byte // the audience, for the worker that pushes
}

// referencePrefix begins a body that refers to a broadcast. No JSON begins with it.
const referencePrefix = "@"

// ListedBody stands in an outbox entry for the body of the notification in the receiver's
// list that has the entry's id. PushFacts looks it up.
const ListedBody = "="

// Reference returns the body of a notification that refers to the text of the broadcast
// with the given key.
func Reference(key string) string { return referencePrefix + key }

// ParseReference returns the key of the broadcast that a body refers to, and whether it
// is a reference.
func ParseReference(body string) (key string, ok bool) {
	return strings.CutPrefix(body, referencePrefix)
}

// maxTexts bounds the texts in a process' cache. A text has at most 64 KiB.
const maxTexts = 256

// textCache holds texts, which never change, by the key of their broadcast.
type textCache struct {
	mu    sync.Mutex
	known map[string]Text
}

func (c *textCache) get(key string) (Text, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, ok := c.known[key]
	return text, ok
}

func (c *textCache) put(key string, text Text) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[string]Text)
	}
	for old := range c.known { // drops any of them
		if len(c.known) < maxTexts {
			break
		}
		delete(c.known, old)
	}
	c.known[key] = text
}

// Texts holds the texts of broadcasts: one copy a partition, to which the partition's
// users refer.
type Texts struct {
	*base
	cache textCache
}

// Key returns the key of a broadcast's text in a partition: a hash with the fields body
// and audience.
func (t *Texts) Key(partition int, key string) string { return t.text(partition, key) }

// Store stores the text of a broadcast in every partition, with the expiry until. Repeating
// it is safe.
func (t *Texts) Store(ctx context.Context, key string, text Text, until time.Time) error {
	commands := make([]*rdb.Command, t.parts.Len())
	for p := range commands {
		commands[p] = storeTextScript.Command(ctx, []string{t.Key(p, key)}, text.Body, text.Audience, until.UnixMilli())
	}
	if err := t.batcher.Do(ctx, commands...); err != nil {
		return fmt.Errorf("store broadcast text: %w", err)
	}
	return nil
}

// KeptUntil returns until when a notification that is stored at the given time may be in a
// list: an idle user's list is trimmed up to two days late.
func (t *Texts) KeptUntil(stored time.Time) time.Time {
	return stored.Add(t.options.Keep + 3*expiryRenewInterval)
}

// Get returns the texts of broadcasts by key, from the partition of a user who has
// notifications of them. Those that have expired are missing.
func (t *Texts) Get(ctx context.Context, user int64, keys ...string) (map[string]Text, error) {
	found := make(map[string]Text, len(keys))
	missing := make(map[string]*rdb.Command)
	var commands []*rdb.Command
	for _, key := range keys {
		if text, ok := t.cache.get(key); ok {
			found[key] = text
		} else if missing[key] == nil {
			missing[key] = rdb.NewCommand(ctx, "hmget", t.Key(t.parts.OfUser(user), key), "body", "audience")
			commands = append(commands, missing[key])
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	_ = t.batcher.Do(ctx, commands...) // each command holds its own error
	for key, c := range missing {
		fields, err := c.Values(2)
		if err != nil {
			return nil, fmt.Errorf("read broadcast texts: %w", err)
		}
		body, ok := fields[0].(string)
		if !ok {
			continue
		}
		audience, _ := fields[1].(string)
		found[key] = Text{Body: []byte(body), Audience: []byte(audience)}
		t.cache.put(key, found[key])
	}
	return found, nil
}
