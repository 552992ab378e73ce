package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
)

// formerVariable names a binary of a former build. If it is set, a rolling restart
// alternates between that build and this one.
const formerVariable = "TEST_FORMER_KABAR"

// serveBuild starts a gateway of this build, or of the former build if there is one.
func (s *site) serveBuild(former bool) *process {
	s.t.Helper()
	cmd := s.command("serve")
	if path := os.Getenv(formerVariable); former && path != "" {
		cmd.Path, cmd.Args[0] = path, path
	}
	return s.start(cmd)
}

// Two gateways are restarted in turn, twice, while services publish, apps make requests and
// sockets listen. No request fails, no frame is lost and no push is missing for clients
// that follow the guides: they repeat a request without an answer, and reconnect with since
// when their socket closes.
func TestRollingRestart(t *testing.T) {
	s := newSite(t)
	seed := newSeed(t)
	f := &fleet{processes: []*process{s.serveBuild(true), s.serveBuild(false)}}
	const users = 6
	ctx, cancel := context.WithTimeout(t.Context(), 5*waitTimeout)
	defer cancel()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var all []*watcher
	for user := 1; user <= users; user++ {
		f.at(0).user(user)
		f.at(0).device(user, "ios", fmt.Sprint("R", user))
		w := &watcher{user: user, fleet: f, rand: rand.New(rand.NewPCG(seed, uint64(user))), more: make(chan struct{}, 1)}
		all = append(all, w)
		wg.Go(func() { w.listen(ctx) })
		wg.Go(func() { w.publish(ctx, stop) })
		wg.Go(func() { w.use(ctx, stop) })
	}
	for round := range 2 {
		for i := range f.processes {
			for _, w := range all { // each watcher received something from every process
				w.await(ctx, w.count()+3*window)
			}
			if err := f.at(i).term(); err != nil {
				t.Errorf("exit: %v", err)
			}
			f.replace(i, s.serveBuild((round+i)%2 == 1))
		}
	}
	for _, w := range all {
		w.await(ctx, w.count()+3*window)
	}
	close(stop)
	for _, w := range all {
		want := w.await(ctx, 0)
		s.arrive("pushes to the phone", func() bool { return len(s.count(fmt.Sprint("R", w.user))) >= len(want) })
		if got := w.frames(); !slices.Equal(got, want) {
			t.Errorf("user %d: the socket had %d frames, %d events were accepted\n%q\n%q", w.user, len(got), len(want), got, want)
		}
	}
	cancel()
	wg.Wait()
	for _, w := range all {
		for _, fault := range w.faults {
			t.Errorf("user %d: %s", w.user, fault)
		}
	}
}

// window is the number of events that are accepted before the test waits for their frames.
const window = 5

// A watcher is a user with an app and a socket, and the service that publishes to them.
type watcher struct {
	user  int
	fleet *fleet
	more  chan struct{} // receives when got has grown

	mu       sync.Mutex
	rand     *rand.Rand
	accepted []string
	got      []string
	faults   []string
	ended    bool // publish has ended
}

func (w *watcher) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *watcher) frames() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *watcher) count() int { return len(w.frames()) }

// any returns a process, which may just have stopped.
func (w *watcher) any() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fleet.at(w.rand.IntN(2))
}

// request repeats a request until it is answered.
func (w *watcher) request(ctx context.Context, want int, method, path, auth, contentType, body string) {
	for ctx.Err() == nil {
		status, answer, err := w.any().try(method, path, auth, contentType, body)
		if err != nil {
			continue // no answer
		}
		if status != want {
			w.fault("%s %s: %d %v", method, path, status, answer)
		}
		return
	}
}

// publish publishes a few events at a time, and waits for their frames on the socket.
func (w *watcher) publish(ctx context.Context, stop <-chan struct{}) {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = true
	}()
	for n := 0; ctx.Err() == nil; {
		select {
		case <-stop:
			return
		default:
		}
		for range window {
			id := fmt.Sprintf("u%d-%d", w.user, n)
			w.request(ctx, 202, "POST", "/v2/events.json", serviceKey, asJSON, dompetEvent(id, w.user))
			w.mu.Lock()
			w.accepted = append(w.accepted, id)
			w.mu.Unlock()
			n++
		}
		w.until(ctx, func() bool { return len(w.got) >= len(w.accepted) })
	}
}

// use makes an app's requests, one after the other.
func (w *watcher) use(ctx context.Context, stop <-chan struct{}) {
	auth := fmt.Sprint(w.user, ":t")
	for ctx.Err() == nil {
		select {
		case <-stop:
			return
		default:
		}
		w.request(ctx, 200, "GET", "/v2/notifications/unreads.json", auth, "", "")
		w.request(ctx, 200, "GET", "/v2/notifications/list.json", auth, "", "")
		w.request(ctx, 200, "POST", "/v2/notifications/android.json", auth, asForm, fmt.Sprint("reg_id=R", w.user))
		w.request(ctx, 200, "PATCH", "/v2/notifications/config.json", auth, asForm, fmt.Sprintf("reg_id=R%d&config[report]=0", w.user))
	}
}

// listen keeps a socket open, and resumes after it closes.
func (w *watcher) listen(ctx context.Context) {
	var since int64
	for ctx.Err() == nil {
		conn, err := w.any().tryDial(ctx, w.user, fmt.Sprint("?since=", since))
		if err != nil {
			continue // that process has stopped: try another
		}
		for {
			_, raw, err := conn.Read(ctx)
			if err != nil {
				break
			}
			var frame struct {
				Op        string
				Seq, Prev int64
				Event     struct{ Details struct{ ID string } }
			}
			if err := json.Unmarshal(raw, &frame); err != nil || frame.Op == "resync" || frame.Op == "error" {
				w.fault("%v: %s", err, raw)
			}
			if frame.Op != "event" {
				continue
			}
			if frame.Prev != since {
				w.fault("%s after %d", raw, since)
			}
			since = frame.Seq
			w.mu.Lock()
			w.got = append(w.got, frame.Event.Details.ID)
			w.mu.Unlock()
			select {
			case w.more <- struct{}{}:
			default:
			}
		}
		conn.CloseNow()
	}
}

// until waits for a condition on the watcher's fields. Only publish calls it.
func (w *watcher) until(ctx context.Context, met func() bool) {
	for {
		w.mu.Lock()
		done := met()
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.more:
		case <-ctx.Done():
			w.fault("the socket has %d of %d events", w.count(), len(w.accepted))
			return
		}
	}
}

// await waits until the socket has n events or publishing has ended, and returns the events
// that were accepted by then.
func (w *watcher) await(ctx context.Context, n int) []string {
	w.fleet.at(0).arrive(fmt.Sprintf("events of user %d", w.user), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return ctx.Err() != nil || n > 0 && len(w.got) >= n || w.ended
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.accepted)
}
