package devices

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// TestInterleavings runs operations of several users on a few tokens, several at a time,
// and lets them call Redis one at a time in random order. After each call, a token must
// have at most one listing that passes. That listing must not belong to a user who had the
// token before the last answered registration. In the end, that registration must have won.
func TestInterleavings(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		s.Client.AddHook(gate{})
		for seed := range uint64(60) {
			for _, crashes := range []bool{false, true} {
				w := &world{
					t: t, store: s, parts: rdb.NewPartitions(fmt.Sprint(s.Prefix, seed, crashes), 16),
					rand: rand.New(rand.NewPCG(seed, 0)), crashes: crashes, generations: map[string]int64{},
				}
				w.r = w.registry(s.Batcher)
				if w.run(16); t.Failed() {
					t.Fatalf("seed %d, crashes %v, in order of their start:\n%s", seed, crashes, w.history())
				}
			}
		}
	})
}

// A world is one random run.
type world struct {
	t           *testing.T
	store       store
	parts       *rdb.Partitions
	r           *Registry // calls Redis without waiting for its turn
	rand        *rand.Rand
	crashes     bool
	started     []*operation
	clock       int              // advances when an operation starts and with every call
	generations map[string]int64 // highest generation seen, by token
}

var (
	someUsers  = []int64{1, 2, 3}
	someTokens = []string{"A", "B", "C"}
)

// registry returns a registry that runs its scripts and writes through a batcher.
func (w *world) registry(b *rdb.Batcher) *Registry {
	return New(Options{Redis: w.store.Client, Batcher: b, Partitions: w.parts})
}

// run runs the operations, at most four at a time, and checks the listings after each call.
func (w *world) run(operations int) {
	var running []*operation
	for len(running) > 0 || len(w.started) < operations {
		if len(w.started) < operations && len(running) < 4 && w.rand.IntN(3) == 0 || len(running) == 0 {
			running = append(running, w.start())
			continue
		}
		i := w.rand.IntN(len(running))
		op := running[i]
		op.enter <- w.crashes && w.rand.IntN(20) == 0
		if w.clock++; !<-op.waits {
			op.end = w.clock
			running = append(running[:i], running[i+1:]...)
		}
		w.checkListings()
	}
	if !w.crashes {
		w.checkOutcome()
	}
}

// An operation is one call of a Registry method. It runs step by step.
type operation struct {
	name       string
	start, end int
	enter      chan bool // lets it make its next call; true makes it crash instead
	waits      chan bool // true when it is about to make a call, false when it has ended
	crashed    bool

	user    int64
	token   string // that it registers or removes
	removes string // the token that Replace replaces
	got     Device // the result of a registration
	err     error
}

// registers reports whether the operation has returned that it registered its token.
func (op *operation) registers() bool { return op.got.Generation != 0 && op.err == nil }

// takesAway reports whether the operation has returned that the token no longer belongs to
// anybody.
func (op *operation) takesAway(token string) bool {
	if op.name == "replace" {
		return op.err == nil && op.removes == token
	}
	return op.err == nil && op.token == token && op.name != "register"
}

var errCrash = errors.New("crashed")

// start starts a random operation and returns when that is about to call Redis.
func (w *world) start() *operation {
	w.clock++
	op := &operation{
		start: w.clock, enter: make(chan bool), waits: make(chan bool),
		user: someUsers[w.rand.IntN(len(someUsers))], token: someTokens[w.rand.IntN(len(someTokens))],
	}
	ctx := context.WithValue(context.Background(), operationKey{}, op)
	batcher := rdb.NewBatcher(gatedClient{w.store.Client, op}, 0)
	r := w.registry(batcher)
	var call func()
	switch kind := w.rand.IntN(10); {
	case kind < 5:
		op.name = "register"
		call = func() { op.got, op.err = r.Register(ctx, op.user, Device{Platform: IOS, Token: op.token}, nil) }
	case kind < 7:
		op.name, op.removes = "replace", someTokens[w.rand.IntN(len(someTokens))]
		call = func() { op.got, op.err = r.Replace(ctx, op.user, op.removes, Device{Platform: IOS, Token: op.token}) }
	case kind < 9:
		op.name = "remove"
		call = func() { op.err = r.Remove(ctx, op.user, IOS, op.token) }
	default:
		op.name = "forget"
		d := Device{Platform: IOS, Token: op.token, ID: "0", Generation: 1}
		if list := w.look().lists[op.user]; len(list) > 0 {
			d = list[w.rand.IntN(len(list))]
		}
		op.token = d.Token
		call = func() { _, op.err = r.Forget(ctx, op.user, d) }
	}
	w.started = append(w.started, op)
	go func() {
		call()
		batcher.Close()
		op.waits <- false
	}()
	<-op.waits
	return op
}

// checkListings checks what must hold after every call.
func (w *world) checkListings() {
	now := w.look()
	for _, token := range someTokens {
		o, last := now.owners[token], w.lastAnswered(token)
		if o.Generation != 0 && o.Generation < w.generations[token] {
			w.t.Errorf("%s: generation %d after %d", token, o.Generation, w.generations[token])
		}
		w.generations[token] = max(w.generations[token], o.Generation)
		passing := now.passing(token)
		if len(passing) > 1 {
			w.t.Errorf("%s: listings pass twice: %+v", token, passing)
		}
		if len(passing) == 1 && last != nil && o.User != last.user && o.Generation < last.got.Generation {
			w.t.Errorf("%s: %d's listing passes after %d's registration was answered", token, o.User, last.user)
		}
	}
}

// checkOutcome checks what must hold when all operations have ended.
func (w *world) checkOutcome() {
	now := w.look()
	for _, token := range someTokens {
		o, last := now.owners[token], w.lastAnswered(token)
		if last == nil {
			continue
		}
		if o.User == 0 {
			if !w.takenAwayAfter(last.start, token) {
				w.t.Errorf("%s: nobody's, though %d registered it", token, last.user)
			}
			continue
		}
		if want := (Owner{last.user, last.got.Generation}); o != want {
			w.t.Errorf("%s: owner is %+v, want %+v", token, o, want)
		}
		if passing := now.passing(token); len(passing) != 1 || !cmp.Equal(passing[0], last.got, ignoreSource) {
			w.t.Errorf("%s: listings %+v pass, want %+v", token, passing, last.got)
		}
		for _, op := range w.started {
			if op.registers() && op.token == token && op.start > last.end {
				w.t.Errorf("%s: %d's registration began after the one that won was answered", token, op.user)
			}
		}
	}
}

// lastAnswered returns the answered registration of the token that must win, or nil.
func (w *world) lastAnswered(token string) (last *operation) {
	for _, op := range w.started {
		if op.end > 0 && op.registers() && op.token == token && (last == nil || op.got.Generation > last.got.Generation) {
			last = op
		}
	}
	return last
}

// takenAwayAfter reports whether a removal of the token ended after the given time.
func (w *world) takenAwayAfter(clock int, token string) bool {
	for _, op := range w.started {
		if op.end > clock && op.takesAway(token) {
			return true
		}
	}
	return false
}

// A view is the content of Redis at one moment.
type view struct {
	owners map[string]Owner
	lists  map[int64][]Device
}

func (w *world) look() view {
	ctx := context.Background()
	ds := make([]Device, len(someTokens))
	for i, token := range someTokens {
		ds[i] = Device{Platform: IOS, Token: token}
	}
	owners, err := w.r.Owners(ctx, ds)
	check(w.t, err)
	v := view{map[string]Owner{}, map[int64][]Device{}}
	for i, token := range someTokens {
		v.owners[token] = owners[i]
	}
	for _, user := range someUsers {
		v.lists[user], err = w.r.List(ctx, user)
		check(w.t, err)
	}
	return v
}

// passing returns the listings of a token that a push would be sent to.
func (v view) passing(token string) (ds []Device) {
	for user, list := range v.lists {
		for _, d := range list {
			if d.Token == token && v.owners[token].Owns(user, d) {
				ds = append(ds, d)
			}
		}
	}
	return ds
}

func (w *world) history() string {
	var b strings.Builder
	for _, op := range w.started {
		fmt.Fprintf(&b, "%d-%d: user %d %s %s for %q: %+v, %v\n", op.start, op.end, op.user, op.name, op.token, op.removes, op.got, op.err)
	}
	return b.String()
}

// gate makes every read that belongs to an operation wait for its turn.
type gate struct{}

type operationKey struct{}

func (gate) enter(ctx context.Context) error {
	if op, ok := ctx.Value(operationKey{}).(*operation); ok {
		return op.step()
	}
	return nil
}

// step waits until the operation may call Redis.
func (op *operation) step() error {
	if !op.crashed {
		op.waits <- true
		op.crashed = <-op.enter
	}
	if op.crashed {
		return errCrash
	}
	return nil
}

// DialHook implements redis.Hook.
func (gate) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (g gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := g.enter(ctx); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (g gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := g.enter(ctx); err != nil {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		return next(ctx, cmds)
	}
}

// A gatedClient makes every pipeline of an operation's batcher wait for its turn.
type gatedClient struct {
	redis.UniversalClient
	op *operation
}

// Pipeline implements redis.Cmdable.
func (c gatedClient) Pipeline() redis.Pipeliner {
	return gatedPipeline{c.UniversalClient.Pipeline(), c.op}
}

type gatedPipeline struct {
	redis.Pipeliner
	op *operation
}

// Exec implements redis.Pipeliner.
func (p gatedPipeline) Exec(ctx context.Context) ([]redis.Cmder, error) {
	if err := p.op.step(); err != nil {
		for _, cmd := range p.Cmds() {
			cmd.SetErr(err)
		}
		return nil, err
	}
	return p.Pipeliner.Exec(ctx)
}
