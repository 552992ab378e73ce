package inbox

import (
	_ "embed"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed common.lua
var common string

// script returns a script that may use what common.lua defines.
func script(source string) *rdb.Script { return rdb.NewScript(common + source) }

const (
	replayFor    = 7 * 24 * time.Hour // how long the replay log of an idle user is kept
	replayFrames = 128                // frames in a replay log, roughly
	expireEvery  = 24 * time.Hour     // how often expiries of what grows are renewed
	minRemember  = 7 * 24 * time.Hour // GET /v2/events/:id.json answers for at least so long
)

// Options configure a Store. Durations and counts must be positive.
type Options struct {
	Redis      redis.UniversalClient
	Batcher    *rdb.Batcher
	Partitions *rdb.Partitions
	// Devices returns the key of a user's device list; without one nothing is
	// enqueued for the user's phones.
	Devices func(user int64) string
	// Dedupe is how long an event's id is remembered.
	Dedupe time.Duration
	// Keep and Most bound a user's notifications by age and number.
	Keep time.Duration
	Most int
	// KeepMessages bounds messages by age; 0 keeps them for ever.
	KeepMessages time.Duration
	// Sharded says that live frames go through sharded pub/sub, as on a cluster.
	Sharded bool
	// Now is the clock of tests. When it is nil, sequence numbers and ids follow
	// Redis' clock, and the rest time.Now.
	Now func() time.Time
}

// A Store holds the inboxes of all users. It is safe for concurrent use and keeps
// no state of its own but texts of broadcasts, which never change. Errors that it does not document come from Redis.
type Store struct {
	Options
	parts   *rdb.Partitions
	publish string
	test    bool // Now is that of a test
	texts   texts
}

// New returns a store over opts.
func New(opts Options) *Store {
	s := &Store{Options: opts, parts: opts.Partitions, publish: "publish", test: opts.Now != nil}
	if !s.test {
		s.Now = time.Now
	}
	if opts.Sharded {
		s.publish = "spublish"
	}
	return s
}

// testTime is what scripts are given as the time: "" stands for Redis' own.
func (s *Store) testTime() string {
	if !s.test {
		return ""
	}
	return strconv.FormatInt(s.Now().UnixMicro(), 10)
}

// remember is how long an event's record is kept.
func (s *Store) remember() time.Duration { return max(s.Dedupe, minRemember) }
