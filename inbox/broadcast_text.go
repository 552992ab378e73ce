package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed broadcast_body.lua
var bodySource string
var bodyScript = rdb.NewScript(bodySource)

// A Text is what the notifications of a broadcast refer to.
type Text struct {
	Body     []byte // JSON object: type, title, message, details
	Audience []byte // which only the package dispatcher/broadcast understands
}

// reference begins a body that refers to a broadcast's. No JSON begins so.
const reference = "@"

// Reference returns what stands for the body of a broadcast in the keys of its
// users: a few bytes, however long the body is.
func Reference(key string) string { return reference + key }

// Referred returns the key of the broadcast that a body refers to, and whether it
// is a reference.
func Referred(body string) (key string, ok bool) { return strings.CutPrefix(body, reference) }

// mostTexts bounds the texts that a process keeps; one is 64 KiB at most.
const mostTexts = 256

// texts keeps texts, which never change, by their broadcasts' keys.
type texts struct {
	mu    sync.Mutex
	known map[string]Text
}

func (t *texts) get(key string) (Text, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, ok := t.known[key]
	return text, ok
}

func (t *texts) put(key string, text Text) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil {
		t.known = make(map[string]Text)
	}
	for old := range t.known { // any one
		if len(t.known) < mostTexts {
			break
		}
		delete(t.known, old)
	}
	t.known[key] = text
}

// TextKey returns the key of the hash that holds a broadcast's text in a partition. It
// expires by itself; see StoreText.
func (s *Store) TextKey(partition int, key string) string { return s.text(partition, key) }

// StoreText stores the text of a broadcast in every partition, until a moment. Repeating
// it is safe.
func (s *Store) StoreText(ctx context.Context, key string, text Text, until time.Time) error {
	commands := make([]*rdb.Command, s.parts.Len())
	for p := range commands {
		commands[p] = bodyScript.Command(ctx, []string{s.text(p, key)}, text.Body, text.Audience, until.UnixMilli())
	}
	if err := s.Batcher.Do(ctx, commands...); err != nil {
		return fmt.Errorf("store broadcast text: %w", err)
	}
	return nil
}

// KeptUntil returns when a notification that is stored at some moment is in no list any
// more, at the latest: an idle user's list is trimmed up to two days late.
func (s *Store) KeptUntil(stored time.Time) time.Time { return stored.Add(s.Keep + 3*expireEvery) }

// Texts returns the texts of broadcasts by key, from the partition of a user who
// was told of them. Those that are forgotten have no entry.
func (s *Store) Texts(ctx context.Context, user int64, keys ...string) (map[string]Text, error) {
	found := make(map[string]Text, len(keys))
	missing := make(map[string]*redis.SliceCmd)
	pipe := s.Redis.Pipeline()
	for _, key := range keys {
		if text, ok := s.texts.get(key); ok {
			found[key] = text
		} else if missing[key] == nil {
			missing[key] = pipe.HMGet(ctx, s.text(s.parts.OfUser(user), key), "body", "audience")
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read broadcast texts: %w", err)
	}
	for key, reply := range missing {
		fields := reply.Val()
		body, ok := fields[0].(string)
		if !ok {
			continue
		}
		audience, _ := fields[1].(string)
		found[key] = Text{Body: []byte(body), Audience: []byte(audience)}
		s.texts.put(key, found[key])
	}
	return found, nil
}
