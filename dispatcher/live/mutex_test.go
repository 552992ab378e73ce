package live

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// nested lists which mutexes may be locked while another one is held. The package comment
// has the same list.
var nested = map[string][]string{
	"shard":      {"user"},
	"socket":     {"writeQueue", "gate"},
	"writeQueue": {"gate"},
	"pubsub":     {"pubsubConn", "gate"},
}

// locks holds the names of the mutexes that each goroutine has locked, by goroutine number.
var locks sync.Map

// held returns the number of the calling goroutine and the names of the mutexes that it
// holds.
func held() (g string, names []string) {
	var b [64]byte
	g = strings.Fields(string(b[:runtime.Stack(b[:], false)]))[1] // "goroutine 18 [running]: …"
	if v, ok := locks.Load(g); ok {
		names = v.([]string)
	}
	return g, names
}

// All tests of this package check the lock order. A violation causes a panic, whose stack
// shows the culprit.
func init() {
	onLock = func(name string) {
		g, names := held()
		for _, outer := range names {
			if !slices.Contains(nested[outer], name) {
				panic(fmt.Sprintf("mutex %s is locked while %v are held", name, names))
			}
		}
		locks.Store(g, append(names, name))
	}
	onUnlock = func(name string) {
		g, names := held()
		if i := slices.Index(names, name); i >= 0 {
			names = slices.Delete(names, i, i+1)
		}
		if len(names) == 0 {
			locks.Delete(g)
		} else {
			locks.Store(g, names)
		}
	}
}

// mayWait panics if the calling goroutine holds a mutex that is not in except.
func mayWait(what string, except ...string) {
	_, names := held()
	for _, name := range names {
		if !slices.Contains(except, name) {
			panic(fmt.Sprintf("mutex %s is held during %s", name, what))
		}
	}
}

// panics returns the value that f panics with, or nil.
func panics(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func TestLockOrderIsChecked(t *testing.T) {
	var s mutex[shardLock]
	var a mutex[userLock]
	if p := panics(func() {
		s.Lock()
		defer s.Unlock()
		a.Lock()
		defer a.Unlock()
	}); p != nil {
		t.Error(p)
	}
	a.Lock()
	defer a.Unlock()
	if panics(s.Lock) == nil {
		t.Error("the wrong order is not noticed")
	}
	if panics(func() { mayWait("a test") }) == nil {
		t.Error("waiting while a mutex is held is not noticed")
	}
}

// checkedConn checks that no mutex is held during its reads, writes and closes.
type checkedConn struct{ net.Conn }

func (c checkedConn) Read(p []byte) (int, error) {
	mayWait("a read")
	return c.Conn.Read(p)
}

func (c checkedConn) Write(p []byte) (int, error) {
	mayWait("a write", "conn")
	return c.Conn.Write(p)
}

func (c checkedConn) Close() error {
	mayWait("a close")
	return c.Conn.Close()
}

// checked returns options whose dependencies check that no mutex is held while they wait
// for Redis.
func checked(o Options) Options {
	o.Chat = checkedChat{o.Chat}
	o.Channels = checkedChannels{o.Channels}
	o.Counters = checkedCounters{o.Counters}
	o.Notifications = checkedNotifications{o.Notifications}
	o.Conversations = checkedConversations{o.Conversations}
	return o
}

type checkedChat struct{ Chat }

func (c checkedChat) Send(ctx context.Context, sender int64, m chat.OutgoingMessage) (string, error) {
	mayWait("Send")
	return c.Chat.Send(ctx, sender, m)
}

func (c checkedChat) ReadConversation(ctx context.Context, user int64, conversation, upTo string) error {
	mayWait("ReadConversation")
	return c.Chat.ReadConversation(ctx, user, conversation, upTo)
}

func (c checkedChat) MessageMembers(ctx context.Context, user int64, ids []string) (map[string][]byte, error) {
	mayWait("MessageMembers")
	return c.Chat.MessageMembers(ctx, user, ids)
}

type checkedChannels struct{ Channels }

func (c checkedChannels) Snapshot(ctx context.Context, user int64) (inbox.Snapshot, error) {
	mayWait("Snapshot")
	return c.Channels.Snapshot(ctx, user)
}

func (c checkedChannels) Replay(ctx context.Context, user, since int64) ([]model.Frame, int64, bool, error) {
	mayWait("Replay")
	return c.Channels.Replay(ctx, user, since)
}

func (c checkedChannels) MarkSeen(ctx context.Context, user, seq int64) error {
	mayWait("MarkSeen")
	return c.Channels.MarkSeen(ctx, user, seq)
}

type checkedCounters struct{ Counters }

func (c checkedCounters) Unreads(ctx context.Context, user int64) (model.Unreads, error) {
	mayWait("Unreads")
	return c.Counters.Unreads(ctx, user)
}

type checkedNotifications struct{ Notifications }

func (n checkedNotifications) MarkRead(ctx context.Context, user int64, id string) (int, error) {
	mayWait("MarkRead")
	return n.Notifications.MarkRead(ctx, user, id)
}

type checkedConversations struct{ Conversations }

func (c checkedConversations) Partner(ctx context.Context, user int64, conversation string) (int64, error) {
	mayWait("Partner")
	return c.Conversations.Partner(ctx, user, conversation)
}

// No mutex is held while a socket waits for its client or for Redis.
func TestNothingIsLockedWhileWaiting(t *testing.T) {
	w := newWorld(t)
	p, _ := w.startStalling(t)
	c := p.dial(66)
	c.next("hello")
	conversation := model.ConversationID(15, 66)
	w.send(15, 66, "halo")
	c.next("event")
	for _, request := range []string{
		`{"op":"send","ref":1,"instant_message":{"receiver_id":15,"category":0,"body_bb":"halo"}}`,
		fmt.Sprintf(`{"op":"typing","ref":1,"conversation_id":%q}`, conversation),
		fmt.Sprintf(`{"op":"presence","ref":1,"conversation_id":%q}`, conversation),
		fmt.Sprintf(`{"op":"read","ref":1,"conversation_id":%q}`, conversation),
		`{"op":"seen","ref":1,"seq":1}`,
	} {
		c.write(request)
		if f := c.next("ack", "error"); f.Op != "ack" {
			t.Errorf("%s: %s", request, f.raw)
		}
	}
	expired, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	p.Drain(expired) // drops the socket
	p.stop()
}
