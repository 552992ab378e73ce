package chat

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Options configure a Chat. Partitions, Inbox and Outbox are required.
type Options struct {
	Partitions *rdb.Partitions
	Inbox      *inbox.Store
	Outbox     *outbox.Outbox
	// Types say how long the push of a message is worth delivering: the built-in types
	// when nil.
	Types *event.Types
	// Texts is the message catalogue: the built-in one when nil.
	Texts *text.Catalogue
	// Locale is the language of a user who chose none: Indonesian unless set.
	Locale text.Locale
	// Location is the zone of the times in live frames: UTC unless set.
	Location *time.Location
	// Admins are administrators in addition to the users whose profile says so.
	Admins []int64
	// Grace is how long a push waits for one of the receiver's live sockets to show the
	// message; 0 switches that off.
	Grace time.Duration
	// Sends limits the messages of one user, over all their sockets and requests to
	// this process: 10 a second and 50 at once unless set.
	Sends Rate
	// RetryFor is how long a push is retried before it is given up: 24 h unless set.
	RetryFor time.Duration
	Log      *slog.Logger // discards when nil
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// A Chat sends messages and read receipts. Its methods are safe for concurrent use.
type Chat struct {
	partitions *rdb.Partitions
	inbox      *inbox.Store
	outbox     *outbox.Outbox
	spec       event.TypeSpec // of messages
	texts      *text.Catalogue
	locale     text.Locale
	location   *time.Location
	admins     []int64
	grace      time.Duration
	sends      *limiter
	retryFor   time.Duration
	log        *slog.Logger
	now        func() time.Time
}

// New returns a chat. It sends messages at once; the hand-offs of processes that died are
// carried out while Run runs.
func New(o Options) *Chat {
	if o.Types == nil {
		o.Types = event.NewTypes()
	}
	if o.Texts == nil {
		o.Texts = text.Default()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Chat{
		partitions: o.Partitions,
		inbox:      o.Inbox,
		outbox:     o.Outbox,
		spec:       o.Types.Spec(eventType),
		texts:      o.Texts,
		locale:     text.Match("", o.Locale, text.Indonesian),
		location:   cmp.Or(o.Location, time.UTC),
		admins:     slices.Clone(o.Admins),
		grace:      o.Grace,
		sends:      newLimiter(cmp.Or(o.Sends, Rate{PerSecond: 10, Burst: 50})),
		retryFor:   cmp.Or(o.RetryFor, 24*time.Hour),
		log:        o.Log,
		now:        o.Now,
	}
}

func (c *Chat) isAdmin(user int64, p inbox.Profile) bool {
	return p.Admin != nil && *p.Admin || slices.Contains(c.admins, user)
}
