package live

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/chat"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A Chat sends messages and read receipts, and renders messages. [chat.Chat] implements it
// and documents the methods and their errors.
type Chat interface {
	Send(ctx context.Context, sender int64, m chat.OutgoingMessage) (id string, err error)
	ReadConversation(ctx context.Context, user int64, conversation, upTo string) error
	MessageMembers(ctx context.Context, user int64, ids []string) (map[string][]byte, error)
}

// Locales chooses the language of a socket. [dispatcher.Dispatcher] implements it and
// documents the method.
type Locales interface {
	LocaleFor(profile, accept string) text.Locale
}

// The parts of [inbox.Store] that a Hub needs. The store's parts document the methods
// and their errors.
type (
	// Channels gives access to the channel, the replay log and the keys of a user's live
	// sockets; see [inbox.Live].
	Channels interface {
		Channel(user int64) string
		Keys(user int64) inbox.LiveKeys
		Snapshot(ctx context.Context, user int64) (inbox.Snapshot, error)
		Replay(ctx context.Context, user, since int64) (frames []model.Frame, newest int64, known bool, err error)
		MarkSeen(ctx context.Context, user, seq int64) error
	}
	// Counters returns unread counts; see [inbox.Counters].
	Counters interface {
		Unreads(ctx context.Context, user int64) (model.Unreads, error)
	}
	// Notifications marks notifications as read; see [inbox.Notifications].
	Notifications interface {
		MarkRead(ctx context.Context, user int64, id string) (unread int, err error)
	}
	// Conversations returns the partner in a conversation; see [inbox.Conversations].
	Conversations interface {
		Partner(ctx context.Context, user int64, conversation string) (int64, error)
	}
)

// Options configure a Hub. Redis, Batcher, Chat, Locales and the parts of the inbox are
// required.
type Options struct {
	Redis   redis.UniversalClient
	Batcher *rdb.Batcher
	Chat    Chat
	Locales Locales
	// Types are the event types of this gateway: the built-in ones when nil.
	Types *event.Types
	// Channels to Conversations are parts of an [inbox.Store].
	Channels      Channels
	Counters      Counters
	Notifications Notifications
	Conversations Conversations
	// Sharded says that frames go through sharded pub/sub, as on a cluster.
	Sharded bool
	// PingInterval is how long a client may be silent before it is pinged: 30 s
	// unless set. One that then stays silent for half as long is dropped.
	PingInterval time.Duration
	// MaxFrame is the maximum size of a client's frame, in bytes: 32 KiB unless set.
	MaxFrame int64
	// QueueFrames and QueueBytes bound the frames that are queued for one socket: 256
	// frames and 1 MiB unless set.
	QueueFrames, QueueBytes int
	// WriteTimeout is how long a client may take to receive one write, 64 KiB or so: 10 s
	// unless set.
	WriteTimeout time.Duration
	// Linger is how long a user whose last connection was lost, or was closed by the hub
	// for another reason than a revocation, stays subscribed and online, so that coming
	// back is cheap: 3 s unless set. A user who closes the last socket leaves at once.
	Linger time.Duration
	// Heartbeat is the interval at which each pub/sub connection is tested with a message
	// to itself: 5 s unless set.
	Heartbeat time.Duration
	// MaxSockets bounds the sockets of one user in this process: 32 unless set.
	MaxSockets int
	// Frames is the rate limit of the frames that one socket sends: 20 a second and 60 at
	// once unless set.
	Frames chat.Rate
	// ControlFrames is the rate limit of the pings, pongs and continuations of fragmented
	// messages that one socket sends: 20 a second and 60 at once unless set. A socket that
	// sends more is closed.
	ControlFrames chat.Rate
	// Typing is the interval in which one user's typing is told to one partner at most
	// once, however many sockets and processes the user types through: 1 s unless set.
	Typing time.Duration
	// DefaultAvatar returns the address of the picture that stands for an avatar that is not
	// set, for the client of a handshake. Frames leave such avatars empty when it is nil.
	DefaultAvatar func(r *http.Request) string
	// Compression offers permessage-deflate, without context takeover.
	Compression bool
	// Texts is the message catalogue: the built-in one when nil.
	Texts *text.Catalogue
	// Location is the zone of the times in frames: UTC unless set.
	Location *time.Location
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

func (o *Options) defaults() {
	o.PingInterval = cmp.Or(o.PingInterval, 30*time.Second)
	o.MaxFrame = cmp.Or(o.MaxFrame, 32<<10)
	o.QueueFrames = cmp.Or(o.QueueFrames, 256)
	o.QueueBytes = cmp.Or(o.QueueBytes, 1<<20)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	o.Linger = cmp.Or(o.Linger, 3*time.Second)
	o.Heartbeat = cmp.Or(o.Heartbeat, 5*time.Second)
	o.MaxSockets = cmp.Or(o.MaxSockets, 32)
	o.Frames = cmp.Or(o.Frames, chat.Rate{PerSecond: 20, Burst: 60})
	o.ControlFrames = cmp.Or(o.ControlFrames, chat.Rate{PerSecond: 20, Burst: 60})
	o.Typing = cmp.Or(o.Typing, time.Second)
	o.Location = cmp.Or(o.Location, time.UTC)
	if o.DefaultAvatar == nil {
		o.DefaultAvatar = func(*http.Request) string { return "" }
	}
	if o.Texts == nil {
		o.Texts = text.Default()
	}
	if o.Types == nil {
		o.Types = event.NewTypes()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
}
