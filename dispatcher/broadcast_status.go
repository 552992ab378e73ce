package dispatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox"
)

// A BroadcastState is what a broadcast is doing.
type BroadcastState string

// The states. Of the last three no other follows.
const (
	BroadcastScheduled BroadcastState = "scheduled" // its time has not come
	BroadcastRunning   BroadcastState = "running"
	BroadcastPaused    BroadcastState = "paused"
	BroadcastCancelled BroadcastState = "cancelled"
	BroadcastDone      BroadcastState = "done"    // the whole audience was told
	BroadcastExpired   BroadcastState = "expired" // its time was over before that
)

// Over reports whether no other state follows.
func (s BroadcastState) Over() bool { return inbox.BroadcastState(s).Over() }

// A BroadcastStatus tells how far a broadcast is.
type BroadcastStatus struct {
	ID       string
	Source   string // "service:NAME"
	Type     string
	State    BroadcastState
	Audience Audience
	Named    int // users whom it names; 0: everyone
	Rate     int // users a second that were asked for

	CreatedAt, At, ExpiresAt time.Time
	StartedAt, FinishedAt    time.Time // zero: not yet

	// Total is how many users there are to reach: exact once it is done or when it
	// names them, else those of whom Kabar knows now.
	Total   int64
	Walked  int64            // users reached: Sent and Skipped
	Sent    int64            // users told: it is in their inbox
	Skipped int64            // users who were not of the audience
	Pushed  int64            // pushes that a provider accepted
	Failed  map[string]int64 // pushes that are not tried any more, by reason
	Pace    float64          // users told a second of late
	Left    time.Duration    // until everyone is reached at that pace; -1 unknown
}

// Service returns the name of the service that it is of.
func (s *BroadcastStatus) Service() string { return strings.TrimPrefix(s.Source, servicePrefix) }

// A definition is what whoever walks must know of a broadcast, as it is stored.
type definition struct {
	ID       string   `json:"id"`
	Source   string   `json:"source"`
	Type     string   `json:"type"`
	Content  string   `json:"content"`
	Audience Audience `json:"audience"`
	Named    int      `json:"named,omitempty"`
	Rate     int      `json:"rate"`
	Created  int64    `json:"created"` // ms
	At       int64    `json:"at"`      // ms
	Expires  int64    `json:"expires"` // ms
}

func readDefinition(stored []byte) (def definition, err error) {
	if err := json.Unmarshal(stored, &def); err != nil {
		return def, fmt.Errorf("definition of a broadcast: %w", err)
	}
	return def, nil
}

// broadcastKey is the digest under which a broadcast of a source is kept, and under
// which its users' records know it.
func broadcastKey(source, id string) string { return EventKey("broadcast\x00"+source, id) }

// ParseBroadcast reads a broadcast; see Parser.ParseBroadcast.
func (d *Dispatcher) ParseBroadcast(raw []byte) (*Broadcast, error) {
	return d.parser.ParseBroadcast(raw)
}

// StartBroadcast keeps a broadcast of a source ("service:NAME"), to be carried out
// by any process at its time.
func (d *Dispatcher) StartBroadcast(ctx context.Context, source string, b *Broadcast) Published {
	now := d.Now()
	def, err := json.Marshal(definition{
		ID: b.ID, Source: source, Type: b.Type, Content: b.content, Audience: b.audience, Named: len(b.users), Rate: b.rate,
		Created: now.UnixMilli(), At: b.at.UnixMilli(), Expires: b.expires.UnixMilli(),
	})
	if err != nil {
		panic(fmt.Sprintf("marshal broadcast: %v", err)) // plain strings and numbers always marshal
	}
	duplicate, err := d.Inbox.Broadcasts.CreateBroadcast(ctx, inbox.NewBroadcast{
		Key: broadcastKey(source, b.ID), Content: b.content, Definition: def,
		Body: b.body, Audience: b.audience.json(), Users: b.users,
		Created: now, Expires: b.expires,
	})
	d.nudgeBroadcasts()
	return Published{ID: b.ID, Duplicate: duplicate, Err: err}
}

// Broadcast returns how far a broadcast of a source is, or inbox.ErrNotFound.
func (d *Dispatcher) Broadcast(ctx context.Context, source, id string) (BroadcastStatus, error) {
	return d.broadcastStatus(ctx, broadcastKey(source, id))
}

// Broadcasts returns the newest broadcasts of all sources, most of them at most.
func (d *Dispatcher) Broadcasts(ctx context.Context, most int) ([]BroadcastStatus, error) {
	keys, err := d.Inbox.Broadcasts.BroadcastKeys(ctx, most)
	if err != nil {
		return nil, err
	}
	return d.broadcastStatuses(ctx, keys)
}

// openBroadcasts returns those that are not over.
func (d *Dispatcher) openBroadcasts(ctx context.Context) ([]BroadcastStatus, error) {
	open, err := d.Inbox.Broadcasts.OpenBroadcasts(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(open))
	for _, b := range open {
		if !b.State.Over() { // else it is just being put away
			keys = append(keys, b.Key)
		}
	}
	return d.broadcastStatuses(ctx, keys)
}

func (d *Dispatcher) broadcastStatuses(ctx context.Context, keys []string) ([]BroadcastStatus, error) {
	all := make([]BroadcastStatus, 0, len(keys))
	for _, key := range keys {
		s, err := d.broadcastStatus(ctx, key)
		switch {
		case errors.Is(err, inbox.ErrNotFound): // forgotten, or not accepted
		case err != nil:
			return nil, err
		default:
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b BroadcastStatus) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

// SetBroadcast pauses (BroadcastPaused), resumes (BroadcastRunning) or cancels
// (BroadcastCancelled) a broadcast. Once a pause or a cancelling has returned,
// nobody more is told. Asking for the state that it is in succeeds. The error is
// inbox.ErrBroadcastState when it is over, and inbox.ErrNotFound when there is none.
func (d *Dispatcher) SetBroadcast(ctx context.Context, source, id string, to BroadcastState) (BroadcastStatus, error) {
	key := broadcastKey(source, id)
	var err error
	switch to {
	case BroadcastPaused:
		err = d.Inbox.Broadcasts.SetBroadcast(ctx, key, inbox.BroadcastPaused, inbox.BroadcastActive)
	case BroadcastRunning:
		err = d.Inbox.Broadcasts.SetBroadcast(ctx, key, inbox.BroadcastActive, inbox.BroadcastPaused)
	case BroadcastCancelled:
		err = d.endBroadcast(ctx, key, inbox.BroadcastCancelled, inbox.BroadcastActive, inbox.BroadcastPaused)
	default:
		err = fmt.Errorf("%w: it cannot be set to %q", inbox.ErrBroadcastState, to)
	}
	if err != nil {
		return BroadcastStatus{}, err
	}
	d.nudgeBroadcasts()
	return d.broadcastStatus(ctx, key)
}

// endBroadcast ends a broadcast that nobody walks to its end.
func (d *Dispatcher) endBroadcast(ctx context.Context, key string, to inbox.BroadcastState, from ...inbox.BroadcastState) error {
	s, err := d.broadcastStatus(ctx, key)
	if err != nil {
		return err
	}
	return d.Inbox.Broadcasts.EndBroadcast(ctx, key, to, s.Total, from...)
}

func (d *Dispatcher) broadcastStatus(ctx context.Context, key string) (BroadcastStatus, error) {
	b, err := d.Inbox.Broadcasts.Broadcast(ctx, key)
	if err != nil {
		return BroadcastStatus{}, err
	}
	if b.State == inbox.BroadcastPreparing {
		return BroadcastStatus{}, inbox.ErrNotFound
	}
	def, err := readDefinition(b.Definition)
	if err != nil {
		return BroadcastStatus{}, err
	}
	s := BroadcastStatus{
		ID: def.ID, Source: def.Source, Type: def.Type, State: BroadcastState(b.State),
		Audience: def.Audience, Named: def.Named, Rate: def.Rate,
		CreatedAt: milli(def.Created), At: milli(def.At), ExpiresAt: milli(def.Expires),
		StartedAt: b.Started, FinishedAt: b.Finished,
		Walked: b.Sent + b.Skipped, Sent: b.Sent, Skipped: b.Skipped, Pushed: b.Accepted, Failed: b.Failed,
		Pace: b.Pace,
	}
	if b.State == inbox.BroadcastActive {
		s.State = BroadcastRunning
		if d.Now().Before(s.At) {
			s.State = BroadcastScheduled
		}
	}
	switch {
	case s.State.Over():
		s.Total = b.Total
	case def.Named > 0:
		s.Total = int64(def.Named)
	default:
		if s.Total, err = d.Inbox.Users.Count(ctx); err != nil {
			return BroadcastStatus{}, err
		}
	}
	s.Total = max(s.Total, s.Walked)
	s.Left = s.left()
	return s, nil
}

// left is how long the rest takes at the pace of late, if it holds as many users of
// the audience as what was walked.
func (s *BroadcastStatus) left() time.Duration {
	rest := float64(s.Total - s.Walked)
	switch {
	case s.State.Over() || rest == 0:
		return 0
	case s.State != BroadcastRunning || s.Pace == 0 || s.Walked == 0:
		return -1
	}
	seconds := rest * float64(s.Sent) / float64(s.Walked) / s.Pace
	return time.Duration(math.Ceil(seconds)) * time.Second
}
