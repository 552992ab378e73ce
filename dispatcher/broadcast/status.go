package broadcast

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

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox"
)

// A Status is the progress of a broadcast.
type Status struct {
	ID       string
	Source   string // see event.ServiceSource
	Type     string
	State    State
	Audience Audience
	Named    int // number of users whom it names; 0: everyone
	Rate     int // users a second, as requested

	CreatedAt, At, ExpiresAt time.Time
	StartedAt, FinishedAt    time.Time // zero: not yet

	// Total is the number of users to reach. It is exact when the broadcast names its
	// users or has ended; until then it counts the users that Kabar knows now.
	Total   int64
	Walked  int64            // users reached: Sent and Skipped
	Sent    int64            // users notified: it is in their inbox
	Skipped int64            // users who were not in the audience
	Pushed  int64            // pushes that a provider accepted
	Failed  map[string]int64 // pushes that failed for good, by reason
	// Receipts counts what apps said became of the notification, by what they said (see
	// package receipt), for each device once.
	Receipts map[string]int64
	Pace     float64       // users notified a second, smoothed
	Left     time.Duration // until everyone is reached at that pace; -1 unknown
}

// Service returns the name of the service that started it.
func (s *Status) Service() string { return event.SourceService(s.Source) }

// A definition is the part of a stored broadcast that its walk needs.
type definition struct {
	ID       string   `json:"id"`
	Source   string   `json:"source"`
	Type     string   `json:"type"`
	Digest   string   `json:"content"`
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

// Get returns the status of a broadcast of a source, or inbox.ErrNotFound.
func (b *Broadcasts) Get(ctx context.Context, source, id string) (Status, error) {
	return b.status(ctx, keyOf(source, id))
}

// List returns the status of the newest broadcasts of all sources, limit of them at most.
func (b *Broadcasts) List(ctx context.Context, limit int) ([]Status, error) {
	keys, err := b.store.newest(ctx, limit)
	if err != nil {
		return nil, err
	}
	return b.statuses(ctx, keys)
}

// open returns the status of the broadcasts that are not over.
func (b *Broadcasts) open(ctx context.Context) ([]Status, error) {
	open, err := b.store.open(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(open))
	for _, r := range open {
		if !r.state.Over() { // else it is about to be closed
			keys = append(keys, r.key)
		}
	}
	return b.statuses(ctx, keys)
}

func (b *Broadcasts) statuses(ctx context.Context, keys []string) ([]Status, error) {
	all := make([]Status, 0, len(keys))
	for _, key := range keys {
		s, err := b.status(ctx, key)
		switch {
		case errors.Is(err, inbox.ErrNotFound): // expired, or not accepted
		case err != nil:
			return nil, err
		default:
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (b *Broadcasts) status(ctx context.Context, key string) (Status, error) {
	r, err := b.store.read(ctx, key)
	if err != nil {
		return Status{}, err
	}
	if r.state == preparing {
		return Status{}, inbox.ErrNotFound
	}
	def, err := readDefinition(r.definition)
	if err != nil {
		return Status{}, err
	}
	s := Status{
		ID: def.ID, Source: def.Source, Type: def.Type, State: r.state,
		Audience: def.Audience, Named: def.Named, Rate: def.Rate,
		CreatedAt: time.UnixMilli(def.Created), At: time.UnixMilli(def.At), ExpiresAt: time.UnixMilli(def.Expires),
		StartedAt: r.started, FinishedAt: r.finished,
		Walked: r.sent + r.skipped, Sent: r.sent, Skipped: r.skipped, Pushed: r.accepted, Failed: r.failed, Receipts: r.receipts,
		Pace: r.pace,
	}
	if s.State == active {
		s.State = Running
		if b.now().Before(s.At) {
			s.State = Scheduled
		}
	}
	switch {
	case s.State.Over():
		s.Total = r.total
	case def.Named > 0:
		s.Total = int64(def.Named)
	default:
		if s.Total, err = b.inbox.Users.Count(ctx); err != nil {
			return Status{}, err
		}
	}
	s.Total = max(s.Total, s.Walked)
	s.Left = s.left()
	return s, nil
}

// left returns the time that the other users take at the current pace, if the share of them
// in the audience is that of the users reached so far.
func (s *Status) left() time.Duration {
	rest := float64(s.Total - s.Walked)
	switch {
	case s.State.Over() || rest == 0:
		return 0
	case s.State != Running || s.Pace == 0 || s.Walked == 0:
		return -1
	}
	seconds := rest * float64(s.Sent) / float64(s.Walked) / s.Pace
	return time.Duration(math.Ceil(seconds)) * time.Second
}
