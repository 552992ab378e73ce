package outbox

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// This is a model of one push to one device. It is published, perhaps again. Two workers
// read, attempt, settle, return and take over its entry. Workers may crash or pause, Redis
// may be away or refuse writes, answers and replies may be lost, the circuit of the app may
// open and close, and the device may pass to another user. Each script is one step. TestModel visits every state that any interleaving
// of the steps can reach, and checks the guarantees in each.
//
// The circuit is no part of the state: a worker may find it open whenever it asks, and what
// waits for it may be returned at any time, because it has closed, as a probe, or because it
// has waited for long enough.
//
// Limits bound the crashes, pauses and losses. Steps without a limit, such as reading or
// renewing, may happen in any state that allows them.

// Limits of a run of the model.
const (
	maxCrashes     = 2
	maxPauses      = 1 // of a worker, longer than a lease
	maxOutages     = 1 // of Redis, of any length; maxmemory was one, too, for the former scripts
	maxLostAnswers = 1 // of the provider, to an attempt
	maxLostReads   = 1 // of Redis' replies that gave an entry to a worker
	maxLostReplies = 1 // of Redis' replies to settling
	maxLaters      = 1 // answers of the provider that mean "later", and open circuits
	maxPublished   = 2
	modelPoison    = 2 // an entry with more deliveries becomes a dead letter
)

// The consumers that may hold the entry; 0 and 1 are the running workers. A crashed worker
// restarts at once under another name.
const (
	nobody = -1
	died   = 2 // a consumer that has stopped
)

// How long an entry was idle.
const (
	fresh      = iota
	ownMayTake // long enough for its consumer to take it back, if it never received it
	leaseEnded // long enough for a take-over by others
)

// What a worker does.
const (
	idle      = iota
	waiting   // it has the entry, and waits for a slot and a connection
	attempted // the provider was asked
	accepted  // this and the next three are outcomes that are not written yet
	retried
	parked // it is to wait for the circuit of the app
	refused
	poisoned
	acked // in a mutation: the entry is removed, and the outcome not written yet
)

type modelWorker struct {
	does    int8
	current bool // its entry is the newest in the stream; otherwise that entry was settled
	writes  int8 // the outcome, while acked
	owned   bool // in a mutation: the receiver owned the device when the entry was read
}

// A modelState is one state. The rules keep the sum of its copies at most one; the model
// itself does not.
type modelState struct {
	published                     int8 // how often the storing script ran
	queued, delayed, dead, sealed int8 // numbers of copies; sealed copies are settled for good
	parked                        int8 // number of copies that wait for the circuit of the app
	holder, left                  int8 // which consumer holds the entry, and how long it was idle
	deliveries                    int8 // of the entry in the stream
	returning                     int8 // in a mutation: removed from its set, and not added to the stream yet
	releasing                     int8 // in a mutation: added to the stream, and not removed from its set yet
	workers                       [2]modelWorker
	away                          bool // Redis executes nothing
	moved                         bool // the device belongs to another user
	byPoison                      bool // the dead letter has the reason poison

	screens     int8 // how often the phone received it
	formerOwner bool // an attempt started after the device had passed to another user

	crashes, pauses, outages, lostAnswers, lostReads, lostReplies, laters int8
}

// modelRules are the rules of the outbox. Each field breaks one of them.
type modelRules struct {
	storeAgain      bool // the storing script does not look for the event's record
	ackOnRead       bool // reading removes the entry
	ackFirst        bool // settling removes the entry before another step writes the outcome
	settleUnheld    bool // settling does not check who holds the entry
	removeFirst     bool // an entry leaves its set before another step adds it to the stream
	releaseFirst    bool // a probe is added to the stream before another step removes it from its set
	neverRelease    bool // what waits for a circuit is never returned
	giveUp          bool // after a lease without a successful write the outcome is given up
	takeFromLiving  bool // entries are taken over although their leases have not ended
	takeAtOnce      bool // entries are taken over right after an outage
	countOwn        bool // taking back an entry of one's own counts as a delivery
	ownerCheckedOne bool // the owner is read only together with the entry, not right before an attempt
}

// A modelEdge is a step to another state.
type modelEdge struct {
	name  string
	after modelState
}

// next appends the steps that a state allows to edges.
func (r modelRules) next(s modelState, edges []modelEdge) []modelEdge {
	if s.ended() && s.published == maxPublished && s.workers == [2]modelWorker{} {
		return edges // the push is finished
	}
	step := func(name string, change func(s *modelState)) {
		after := s
		change(&after)
		after.order()
		edges = append(edges, modelEdge{name, after})
	}
	r.outside(s, step)
	if !s.away {
		r.shared(s, step)
	}
	for w := range int8(2) {
		r.work(s, w, step)
		if !s.away {
			r.take(s, w, step)
			r.settle(s, w, step)
		}
	}
	return edges
}

// order sorts the workers, because states that differ only in their order are equal.
func (s *modelState) order() {
	a, b := s.workers[0], s.workers[1]
	if cmp.Or(cmp.Compare(a.does, b.does), bit(a.current)-bit(b.current), cmp.Compare(a.writes, b.writes),
		bit(a.owned)-bit(b.owned), bit(s.holder == 1)-bit(s.holder == 0)) <= 0 {
		return
	}
	s.workers[0], s.workers[1] = b, a
	if s.holder == 0 || s.holder == 1 {
		s.holder = 1 - s.holder
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

type modelStep func(name string, change func(s *modelState))

// outside lists the steps of Redis, of users and of time.
func (r modelRules) outside(s modelState, step modelStep) {
	if !s.away && s.outages < maxOutages && s.holder != nobody { // otherwise waiting loses nothing
		step("Redis goes away", func(s *modelState) { s.away = true; s.outages++ })
	}
	if s.away {
		step("Redis is back", func(s *modelState) {
			s.away = false
			switch { // before a take-over, live workers renew and take back their own entries
			case r.takeAtOnce || s.holder == nobody || s.holder == died:
			case s.knows(s.holder):
				s.left = fresh
			default:
				s.left = min(s.left, ownMayTake)
			}
		})
	}
	if !s.moved && s.published > 0 {
		step("another user registers the device", func(s *modelState) { s.moved = true })
	}
	if s.holder == nobody || s.left == leaseEnded {
		return
	}
	switch renewed := s.holder != died && !s.away; {
	case !renewed || s.left == fresh && !s.knows(s.holder):
		step("time passes", func(s *modelState) { s.left++ })
	case s.pauses < maxPauses:
		step("the holder pauses", func(s *modelState) { s.left = leaseEnded; s.pauses++ })
	}
}

// knows reports whether a worker has received the entry that it holds in Redis.
func (s *modelState) knows(w int8) bool {
	return s.workers[w].does != idle && s.workers[w].current
}

// shared lists the scripts that any process runs.
func (r modelRules) shared(s modelState, step modelStep) {
	add := func(s *modelState) {
		s.queued++
		s.deliveries = 0
		s.workers[0].current, s.workers[1].current = false, false
	}
	if s.published < maxPublished {
		step("publish", func(s *modelState) {
			if s.published == 0 || r.storeAgain {
				add(s)
			}
			s.published++
		})
	}
	r.due(s, add, step)
}

// due lists the scripts that return what was delayed or waits for the circuit.
func (r modelRules) due(s modelState, add func(s *modelState), step modelStep) {
	if s.returning > 0 {
		step("add what is due", func(s *modelState) { s.returning--; add(s) })
	}
	if s.releasing > 0 {
		step("remove the probe", func(s *modelState) { s.releasing--; s.parked-- })
	}
	move := func(name string, remove func(s *modelState)) {
		if r.removeFirst {
			step("remove "+name, func(s *modelState) { remove(s); s.returning++ })
			return
		}
		step("return "+name, func(s *modelState) { remove(s); add(s) })
	}
	if s.delayed > 0 {
		move("what is due", func(s *modelState) { s.delayed-- })
	}
	switch {
	case s.parked == 0 || s.releasing > 0 || r.neverRelease:
	case r.releaseFirst:
		step("add a probe", func(s *modelState) { s.releasing++; add(s) })
	default:
		move("what waits for the circuit", func(s *modelState) { s.parked-- })
	}
}

// take lists the scripts that give the entry to a worker.
func (r modelRules) take(s modelState, w int8, step modelStep) {
	give := func(s *modelState) {
		s.holder, s.left = w, fresh
		s.workers[w] = modelWorker{does: waiting, current: true, owned: !s.moved}
		if s.deliveries > modelPoison {
			s.workers[w].does = poisoned
		}
	}
	lose := s.lostReads < maxLostReads
	if s.workers[w].does == idle && s.queued > 0 && s.holder == nobody {
		read := func(s *modelState) {
			s.queued--
			s.deliveries++
			give(s)
			if r.ackOnRead {
				s.holder = nobody
			}
		}
		step("reads", read)
		if lose {
			step("reads in vain", func(s *modelState) { read(s); s.workers[w] = modelWorker{}; s.lostReads++ })
		}
	}
	if s.holder == nobody || s.workers[w].does != idle {
		return
	}
	if s.holder == w && s.left >= ownMayTake {
		step("takes back", func(s *modelState) {
			if r.countOwn {
				s.deliveries++
			}
			give(s)
		})
	}
	if s.holder != w && (s.left == leaseEnded || r.takeFromLiving) {
		takeOver := func(s *modelState) { s.deliveries++; give(s) }
		step("takes over", takeOver)
		if lose {
			step("takes over in vain", func(s *modelState) { takeOver(s); s.workers[w] = modelWorker{}; s.lostReads++ })
		}
	}
}

// work lists a worker's steps without a script of the outbox, and its crash.
func (r modelRules) work(s modelState, w int8, step modelStep) {
	me := s.workers[w]
	does := func(name string, what int8, and func(s *modelState)) {
		step(name, func(s *modelState) { s.workers[w].does = what; and(s) })
	}
	nothing := func(*modelState) {}
	switch {
	case me.does == waiting && r.ownerCheckedOne && me.owned:
		does("attempts", attempted, func(s *modelState) { s.formerOwner = s.formerOwner || s.moved })
	case me.does == waiting && s.away:
		does("cannot read the owner", retried, nothing)
	case me.does == waiting && s.moved: // the outcome then settles the entry for good
		does("drops the push", accepted, nothing)
	case me.does == waiting: // reads the owner and starts the attempt, without a wait in between
		does("attempts", attempted, func(s *modelState) { s.formerOwner = s.formerOwner || s.moved })
		if s.laters < maxLaters {
			does("finds the circuit open", parked, func(s *modelState) { s.laters++ })
		}
	case me.does == attempted:
		does("is told accepted", accepted, func(s *modelState) { s.screens++ })
		does("is told refused", refused, nothing)
		if s.laters < maxLaters {
			does("is told later", retried, func(s *modelState) { s.laters++ })
		}
		if s.lostAnswers < maxLostAnswers {
			does("is told nothing", retried, func(s *modelState) { s.screens++; s.lostAnswers++ })
		}
	case me.does >= accepted && s.away && r.giveUp:
		does("gives up", idle, nothing)
	}
	if s.crashes < maxCrashes && (me.does != idle || s.holder == w) {
		step("crashes", func(s *modelState) {
			s.crashes++
			s.workers[w] = modelWorker{}
			if s.holder == w {
				s.holder = died
			}
		})
	}
}

// settle lists the steps of settling.
func (r modelRules) settle(s modelState, w int8, step modelStep) {
	me := s.workers[w]
	write := func(s *modelState, outcome int8) {
		switch outcome {
		case accepted:
			s.sealed++
		case retried:
			s.delayed++
		case parked:
			s.parked++
		case refused, poisoned:
			s.dead++
			s.byPoison = s.byPoison || outcome == poisoned
		}
	}
	holds := s.holder == w && me.current || r.settleUnheld || r.ackOnRead
	switch {
	case me.does == acked:
		step("writes", func(s *modelState) { write(s, me.writes); s.workers[w] = modelWorker{} })
	case me.does < accepted:
	case !holds:
		step("finds nothing to settle", func(s *modelState) { s.workers[w] = modelWorker{} })
	case r.ackFirst:
		step("acknowledges", func(s *modelState) {
			s.holder, s.workers[w].writes, s.workers[w].does = nobody, me.does, acked
		})
	default:
		settle := func(s *modelState) {
			write(s, me.does)
			if me.current {
				s.holder = nobody
			}
		}
		step("settles", func(s *modelState) { settle(s); s.workers[w] = modelWorker{} })
		if s.lostReplies < maxLostReplies {
			step("settles without a reply", func(s *modelState) { settle(s); s.lostReplies++ })
		}
	}
}

// broken returns the first guarantee that a state breaks and whose name starts with only,
// or "".
func (s *modelState) broken(only string) string {
	copies := s.queued + s.delayed + s.parked + s.dead + s.sealed
	if s.holder != nobody {
		copies++
	}
	causes := s.crashes + s.pauses
	for _, g := range [...]struct {
		broken bool
		what   string
	}{
		{s.published > 0 && copies == 0, "G1: the push is nowhere"},
		{copies > 1, "G2: the push is there twice"},
		{s.screens > 1+causes+s.lostAnswers, "G3: the push was repeated without a cause"},
		{s.formerOwner, "G4: an attempt for the former owner"},
		{s.byPoison && causes < modelPoison, "poison: buried although fewer workers died"},
	} {
		if g.broken && strings.HasPrefix(g.what, only) {
			return g.what
		}
	}
	return ""
}

// ended reports whether the push is finished.
func (s *modelState) ended() bool { return s.dead+s.sealed > 0 }

// A modelRun is the result of a search.
type modelRun struct {
	states int
	broken string   // the first broken guarantee, or that no end can be reached from some states
	path   []string // the steps to the state that breaks the guarantee
}

// search visits the states by increasing number of steps, until one breaks a guarantee; see
// broken.
func (r modelRules) search(only string) modelRun {
	states := []modelState{{holder: nobody}}
	index := map[modelState]int{states[0]: 0}
	came := []int{0}       // the previous state of each state
	names := []string{""}  // the step from the previous state
	into := [][]int32{nil} // all predecessors of each state
	var ends []int32
	var edges []modelEdge
	for i := 0; i < len(states); i++ {
		if broken := states[i].broken(only); broken != "" {
			run := modelRun{states: len(states), broken: broken}
			for ; i > 0; i = came[i] {
				run.path = append([]string{names[i]}, run.path...)
			}
			return run
		}
		if states[i].ended() {
			ends = append(ends, int32(i))
		}
		edges = r.next(states[i], edges[:0])
		for _, e := range edges {
			j, known := index[e.after]
			if !known {
				j = len(states)
				index[e.after] = j
				states, came, names, into = append(states, e.after), append(came, i), append(names, e.name), append(into, nil)
			}
			into[j] = append(into[j], int32(i))
		}
	}
	reaching, reached := make([]bool, len(states)), 0
	for len(ends) > 0 {
		i := ends[len(ends)-1]
		ends = ends[:len(ends)-1]
		if !reaching[i] {
			reaching[i] = true
			reached++
			ends = append(ends, into[i]...)
		}
	}
	run := modelRun{states: len(states)}
	if stuck := len(states) - reached; stuck > 0 {
		run.broken = fmt.Sprintf("stuck: no end can be reached from %d states", stuck)
	}
	return run
}

// The guarantees hold in every interleaving of two workers, and from every state the push
// can be finished.
func TestModel(t *testing.T) {
	t.Parallel()
	run := modelRules{}.search("")
	t.Logf("%d states", run.states)
	if run.broken != "" {
		t.Errorf("%s:\n%s", run.broken, strings.Join(run.path, "\n"))
	}
}

// Each rule is necessary: without it a guarantee breaks.
func TestModelNeedsItsRules(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rules modelRules
		want  string
	}{
		"store again":                  {modelRules{storeAgain: true}, "G2"},
		"acknowledge on reading":       {modelRules{ackOnRead: true}, "G1"},
		"acknowledge before writing":   {modelRules{ackFirst: true}, "G1"},
		"settle what others hold":      {modelRules{settleUnheld: true}, "G2"},
		"remove before adding":         {modelRules{removeFirst: true}, "G1"},
		"add a probe before removing":  {modelRules{releaseFirst: true}, "G2"},
		"never release":                {modelRules{neverRelease: true}, "stuck"},
		"give outcomes up":             {modelRules{giveUp: true}, "G3"},
		"take over from the living":    {modelRules{takeFromLiving: true}, "G3"},
		"take over after an outage":    {modelRules{takeAtOnce: true}, "G3"},
		"count what was taken back":    {modelRules{countOwn: true}, "poison"},
		"check the owner when reading": {modelRules{ownerCheckedOne: true}, "G4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := test.rules.search(test.want)
			if !strings.HasPrefix(run.broken, test.want+":") {
				t.Errorf("%q is broken after %d states, want %s", run.broken, run.states, test.want)
			}
			t.Logf("%s, after\n%s", run.broken, strings.Join(run.path, "\n"))
		})
	}
}
