package inbox

import (
	_ "embed"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Errors that several parts of the store return.
var (
	// ErrNotFound reports that the user has no notification, message or other item like
	// that.
	ErrNotFound = errors.New("not found")
	// ErrConflict reports that an id was used before, for other content.
	ErrConflict = errors.New("this id was used before with other content")
	// ErrErased reports that the user was erased: the tombstone is still kept.
	ErrErased = errors.New("the user was erased")
	// ErrErasing reports that the user is being erased at the moment: the call may
	// be repeated soon.
	ErrErasing = errors.New("the user is being erased")
)

//go:embed common.lua
var common string

// script returns a script that may use what common.lua defines.
func script(source string) *rdb.Script { return rdb.NewScript(source, common) }

const (
	replayLogTTL        = 7 * 24 * time.Hour // of the replay log of an idle user
	replayFrames        = 128                // frames in a replay log, roughly
	expiryRenewInterval = 24 * time.Hour     // how often the expiries of growing keys are renewed
	minRecordTTL        = 7 * 24 * time.Hour // GET /v2/events/:id.json answers for at least this long
	tombstoneMargin     = 24 * time.Hour
)

// Options configure a Store. Durations and counts must be positive.
type Options struct {
	Redis      redis.UniversalClient
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	// Devices returns the key of a user's device list. Pushes are enqueued only for
	// users who have one.
	Devices func(user int64) string
	// Dismissals returns the delayed set of the urgent lane in which a user's dismissal waits,
	// and its entry there; see Shades. When it is nil, devices are not told what was read.
	Dismissals func(user int64) (delayed, entry string)
	// Dedupe is how long an event's id is remembered.
	Dedupe time.Duration
	// Keep and MaxNotifications bound a user's notifications by age and number.
	Keep             time.Duration
	MaxNotifications int
	// RetryFor is how long pushes are retried: for that time a push of a listed notification
	// may refer to its body. When it is 0, no push does, and the same holds for a push that
	// is retried for longer, or for longer than Keep.
	RetryFor time.Duration
	// KeepMessages bounds messages by age; 0 keeps them for ever.
	KeepMessages time.Duration
	// Sharded says that live frames go through sharded pub/sub, as on a cluster.
	Sharded bool
	// Log gets a warning, at most once a minute, when Redis refuses to publish live frames.
	// It may be nil.
	Log *slog.Logger
	// Now is the clock of tests. When it is nil, sequence numbers and ids follow
	// Redis' clock, and the rest time.Now.
	Now func() time.Time
}

// A Store holds the inboxes of all users, with one part for each concern. The parts are
// safe for concurrent use and hold no state of their own, apart from a cache of broadcast
// texts, which never change. Errors that a method does not document come from Redis.
type Store struct {
	Notifications *Notifications // store, list and read notifications
	Counters      *Counters      // unread counters
	Texts         *Texts         // texts that the notifications of a broadcast share
	Conversations *Conversations // read, search and delete messages
	Outbound      *Outbound      // send messages
	Handoffs      *Handoffs      // changes that partners' copies still lack
	Profiles      *Profiles      // profiles and settings
	Users         *Users         // the list of all users
	Contacts      *Contacts      // partners in transactions
	Live          *Live          // channel, replay log and keys of live sockets
	Records       *Records       // the outcome of each event
	Eraser        *Eraser        // erase users
	Auditor       *Auditor       // compare counters with what they count
	Sweeper       *Sweeper       // drop old data
	Shades        *shades        // what devices show

	*base
}

// New returns a store over opts.
func New(opts Options) *Store {
	b := newBase(opts)
	var (
		texts         = &Texts{base: b}
		records       = &Records{base: b}
		notifications = &Notifications{base: b, records: records, texts: texts, storeScript: b.newStoreScript(storeEachSource).Joint()}
		conversations = &Conversations{base: b}
		live          = &Live{base: b, texts: texts}
	)
	notifications.storeScheduled = notifications.Wrap(storeScheduledSource)
	return &Store{
		Notifications: notifications,
		Counters:      &Counters{base: b},
		Texts:         texts,
		Conversations: conversations,
		Outbound:      &Outbound{base: b},
		Handoffs:      &Handoffs{base: b},
		Profiles:      &Profiles{base: b},
		Users:         &Users{base: b},
		Contacts:      &Contacts{base: b},
		Live:          live,
		Records:       records,
		Eraser:        &Eraser{base: b, conversations: conversations, live: live},
		Auditor:       &Auditor{base: b},
		Sweeper:       &Sweeper{base: b, conversations: conversations},
		Shades:        &shades{base: b},
		base:          b,
	}
}

// Options returns the options that New was given.
func (s *Store) Options() Options { return s.options }

// base holds the fields that all parts share.
type base struct {
	options   Options
	redis     redis.UniversalClient
	batcher   *rdb.Batcher
	parts     *rdb.Partitions
	now       func() time.Time
	testClock bool   // now is that of a test
	publish   string // the command that publishes live frames

	liveErrors *liveErrors
}

func newBase(opts Options) *base {
	b := &base{
		options: opts, redis: opts.Redis, batcher: opts.Batcher, parts: opts.Partitions,
		now: opts.Now, testClock: opts.Now != nil, publish: "publish",
		liveErrors: &liveErrors{log: opts.Log},
	}
	if !b.testClock {
		b.now = time.Now
	}
	if opts.Sharded {
		b.publish = "spublish"
	}
	return b
}

// testTime returns the time for scripts, in microseconds: "" makes them use Redis' clock.
func (b *base) testTime() string {
	if !b.testClock {
		return ""
	}
	return strconv.FormatInt(b.now().UnixMicro(), 10)
}

// recordTTL is how long an event's record is kept.
func (b *base) recordTTL() time.Duration { return max(b.options.Dedupe, minRecordTTL) }

// tombstoneTTL is how long an erased user's tombstone is kept, unless Profiles.Set removes
// it: longer than events and messages from before the erasure may be repeated.
func (b *base) tombstoneTTL() time.Duration { return b.recordTTL() + tombstoneMargin }
