package delivery

import (
	"context"
	_ "embed" // the scripts
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// What gateways share about an app lies in Redis, so that forty judge as one and a restart
// forgets nothing.

const (
	keepState    = 24 * time.Hour // how long a circuit or a slowdown is kept that nobody writes
	maxAttempted = 16             // users that are told as attempted: a quorum suffices
	probeLease   = 10 * time.Second
	maxDevices   = 100_000 // devices that are kept until Redis knows them
	maxObserved  = 500     // members of a list in one script
)

var (
	//go:embed observe.lua
	observeSource string
	//go:embed swap.lua
	swapSource string

	observeScript = rdb.NewScript(observeSource)
	swapScript    = rdb.NewScript(swapSource)
)

// appKeys builds the keys of an app. All have the hash tag of the partition of its name.
type appKeys struct {
	parts *rdb.Partitions
	app   string
}

func (k appKeys) key(name string) string {
	return k.parts.Key(k.parts.Of("app:"+k.app), "app:"+k.app+":"+name)
}

// facts is a hash, kept for ever, with times in ms: since is when gateways began to note what
// was accepted, accepted that of the newest acceptance, recognised that of the newest answer
// which shows that the provider accepts our credentials and configuration.
func (k appKeys) facts() string { return k.key("facts") }

// attempted is a sorted set, kept for the window: users, by the time of a push to them.
func (k appKeys) attempted() string { return k.key("attempted") }

// blaming is a sorted set, kept for the window: users whose answers are evidence against
// the app, by time.
func (k appKeys) blaming() string { return k.key("blaming") }

// slowed is a sorted set, kept for slowWindow: users about whose devices the provider asked
// to slow down, by time.
func (k appKeys) slowed() string { return k.key("slowed") }

// lease is a string, kept for probeLease: a gateway probes the provider without a device.
func (k appKeys) lease() string { return k.key("probe") }

// circuit is a string, a circuit as JSON. It is deleted when the circuit closes, and kept for
// keepState after it was last written.
func (k appKeys) circuit() string { return k.key("circuit") }

// slowdown is a string, a slowdown as JSON, kept for keepState.
func (k appKeys) slowdown() string { return k.key("slowdown") }

// devices is a HyperLogLog, kept for twice the window: current devices that were attempted,
// or called dead, in a minute.
func (k appKeys) devices(what string, minute int64) string {
	return k.key(what + ":" + strconv.FormatInt(minute, 10))
}

const (
	seenDevices = "seen"
	deadDevices = "dead"
)

// observed is what this gateway has seen of an app since it told Redis.
type observed struct {
	accepted, recognised                bool            // a push was accepted; we were recognised, see recognises
	attempted, blaming, cleared, slowed map[int64]bool  // users
	seen, dead                          map[string]bool // current devices
	asksProbe                           bool
	slowLane                            push.Lane // of the newest answer that asks to slow down
	slowStarted                         time.Time
	slowFor                             time.Duration
	slowProject                         bool
	refused                             push.Reason // why the credentials were refused, or ""
}

// add adds a user to a list that observe.lua takes whole.
func add(users *map[int64]bool, user int64) {
	if *users == nil {
		*users = make(map[int64]bool)
	}
	if len(*users) < maxObserved {
		(*users)[user] = true
	}
}

// addDevice adds a device to a list, unless it is very long because Redis is away: then the
// shares are what counts, and they stay.
func addDevice(devices *map[string]bool, id string) {
	if *devices == nil {
		*devices = make(map[string]bool)
	}
	if len(*devices) < maxDevices {
		(*devices)[id] = true
	}
}

// sharedState is what all gateways have seen of an app.
type sharedState struct {
	now        time.Time // by Redis' clock
	since      time.Time // when gateways began to note what was accepted
	evidence   evidence
	recognised time.Time // when a provider's answer last showed that it accepts our credentials
	slowed     int       // distinct users, within slowWindow
	probe      bool      // this gateway is to probe the provider
	circuit    *circuit
	slowdown   slowdown

	circuitText, slowdownText string // as they are stored
}

// observe tells Redis what this gateway has seen, and returns what all have.
func (a *app) observe(ctx context.Context, o *observed) (s sharedState, err error) {
	a.mu.Lock()
	minute := a.clock().Unix() / 60
	a.mu.Unlock()
	keys := []string{
		a.keys.facts(), a.keys.attempted(), a.keys.blaming(), a.keys.slowed(), a.keys.lease(),
		a.keys.devices(seenDevices, minute), a.keys.devices(deadDevices, minute), a.keys.circuit(), a.keys.slowdown(),
	}
	allSeen, allDead := slices.Collect(maps.Keys(o.seen)), slices.Collect(maps.Keys(o.dead))
	for {
		seen, dead := cut(&allSeen), cut(&allDead)
		lease := int64(0)
		if o.asksProbe {
			lease = probeLease.Milliseconds()
		}
		args := []any{window.Milliseconds(), slowWindow.Milliseconds(), flag(o.accepted), flag(o.recognised), lease}
		for _, users := range []map[int64]bool{o.attempted, o.blaming, o.cleared, o.slowed} {
			args = append(args, len(users))
			for u := range users {
				args = append(args, u)
			}
		}
		for _, devices := range [][]string{seen, dead} {
			args = append(args, len(devices))
			for _, d := range devices {
				args = append(args, d)
			}
		}
		c := observeScript.Command(ctx, keys, args...)
		if err := a.batcher.Do(ctx, c); err != nil {
			return s, fmt.Errorf("share what was seen of an app: %w", err)
		}
		taken := s.probe
		if s, err = readShared(c); err != nil {
			return s, err
		}
		s.probe = s.probe || taken
		if len(allSeen)+len(allDead) == 0 {
			return s, nil
		}
	}
}

// cut takes the first devices of a list, as many as one script takes.
func cut(list *[]string) []string {
	n := min(len(*list), maxObserved)
	head := (*list)[:n]
	*list = (*list)[n:]
	return head
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// readShared reads the reply of observe.lua.
func readShared(c *rdb.Command) (s sharedState, err error) {
	reply, err := c.Slice()
	if err != nil {
		return s, fmt.Errorf("share what was seen of an app: %w", err)
	}
	const fixed = 9
	if len(reply) < fixed {
		return s, fmt.Errorf("share what was seen of an app: %w", rdb.ErrReply)
	}
	number := func(i int) int64 { n, _ := reply[i].(int64); return n }
	text := func(i int) string { t, _ := reply[i].(string); return t }
	s.now = time.UnixMilli(number(0))
	if at := number(1); at > 0 {
		s.evidence.accepted = time.UnixMilli(at)
	}
	s.evidence.attempted, s.slowed, s.probe = int(number(2)), int(number(3)), number(4) == 1
	for i := range reply[fixed:] {
		if u, err := strconv.ParseInt(text(fixed+i), 10, 64); err == nil {
			s.evidence.blaming = append(s.evidence.blaming, u)
		}
	}
	s.circuitText, s.slowdownText, s.since = text(5), text(6), time.UnixMilli(number(7))
	s.recognised = time.UnixMilli(number(8))
	if s.circuitText != "" {
		s.circuit = new(circuit)
		if err := json.Unmarshal([]byte(s.circuitText), s.circuit); err != nil {
			return s, fmt.Errorf("circuit: %w", err)
		}
	}
	if s.slowdownText != "" {
		if err := json.Unmarshal([]byte(s.slowdownText), &s.slowdown); err != nil {
			return s, fmt.Errorf("slowdown: %w", err)
		}
	}
	return s, nil
}

// swap replaces a string that gateways share, if it still is as it was seen, and reports
// whether it did. It then deletes the other keys.
func (a *app) swap(ctx context.Context, key, seen, replacement string, others ...string) (bool, error) {
	c := swapScript.Command(ctx, append([]string{key}, others...), seen, replacement, keepState.Milliseconds())
	if err := a.batcher.Do(ctx, c); err != nil {
		return false, fmt.Errorf("change the state of an app: %w", err)
	}
	return c.Bool()
}

// countStorm reads how many current devices were attempted and called dead.
func (a *app) countStorm(ctx context.Context) (s storm, err error) {
	a.mu.Lock()
	minute := a.clock().Unix() / 60
	a.mu.Unlock()
	count := func(what string) *rdb.Command {
		args := []any{"pfcount"}
		for m := minute - int64(window/time.Minute); m <= minute+1; m++ {
			args = append(args, a.keys.devices(what, m))
		}
		return rdb.NewCommand(ctx, args...)
	}
	attempted, dead := count(seenDevices), count(deadDevices)
	if err := a.batcher.Do(ctx, attempted, dead); err != nil {
		return s, fmt.Errorf("count devices: %w", err)
	}
	n, err1 := attempted.Int()
	m, err2 := dead.Int()
	if err1 != nil || err2 != nil {
		return s, fmt.Errorf("count devices: %w", rdb.ErrReply)
	}
	return storm{attempted: n, dead: m}, nil
}
