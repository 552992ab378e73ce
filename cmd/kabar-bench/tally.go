package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// deliverTimeout is how long a round waits for its events.
const deliverTimeout = time.Minute

var errWrongFrames = errors.New("not every socket got its events exactly once")

// A tally records which of a round's events have reached the sockets of their users. Event
// k of a user has the number first + k * users + user - 1.
//
// Each user has one reader at a time, and only that writes the user's fields.
type tally struct {
	first   int64
	users   int
	each    int           // events of a user
	at      []int64       // when each event came, Unix ns, by place; 0: not yet
	got     []int         // events, by user
	counted []bool        // whether new numbers followed the events, by user; nil when nobody waits for that
	late    time.Duration // the timeout of wait

	left     atomic.Int64  // events and numbers that have not come yet
	done     chan struct{} // closed when all has
	repeated atomic.Int64
	strays   atomic.Int64
}

// newTally returns a tally that expects each events for each of the users, and, with
// numbers, a frame of unread counters after them.
func newTally(first int64, users, each int, numbers bool) *tally {
	t := &tally{
		first: first, users: users, each: each,
		at: make([]int64, users*each), got: make([]int, users),
		late: deliverTimeout, done: make(chan struct{}),
	}
	left := users * each
	if numbers {
		t.counted = make([]bool, users)
		left += users
	}
	t.left.Store(int64(left))
	return t
}

// event records an event of a user's socket.
func (t *tally) event(user, number int64, at time.Time) {
	place := number - t.first
	switch {
	case place < 0 || place >= int64(len(t.at)) || place%int64(t.users) != user-1:
		t.strays.Add(1)
	case t.at[place] != 0:
		t.repeated.Add(1)
	default:
		t.at[place] = at.UnixNano()
		t.got[user-1]++
		t.came()
	}
}

// numbers records the unread counters of a user's socket.
func (t *tally) numbers(user int64) {
	if t.counted != nil && !t.counted[user-1] && t.got[user-1] == t.each {
		t.counted[user-1] = true
		t.came()
	}
}

func (t *tally) came() {
	if t.left.Add(-1) == 0 {
		close(t.done)
	}
}

// wait waits until everything expected has arrived, or a socket fails. The error is
// errWrongFrames unless each event arrived once.
func (t *tally) wait(ctx context.Context, failed <-chan error) error {
	late := time.NewTimer(t.late)
	defer late.Stop()
	select {
	case <-t.done:
	case <-late.C:
	case err := <-failed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	left, repeated, strays := t.left.Load(), t.repeated.Load(), t.strays.Load()
	if left+repeated+strays > 0 {
		return fmt.Errorf("%w: of %d and the numbers that follow, %d are missing and %d came again; %d went elsewhere",
			errWrongFrames, len(t.at), left, repeated, strays)
	}
	return nil
}

// latencies returns how long each event took since it was sent, in ms, sorted, and
// the time from the first request to the last arrival. Call it after wait.
func (t *tally) latencies(sent []time.Time) (each []float64, took time.Duration) {
	each = make([]float64, len(sent))
	for i, at := range t.at {
		each[i] = float64(at-sent[i].UnixNano()) / 1e6
	}
	slices.Sort(each)
	begin := slices.MinFunc(sent, time.Time.Compare)
	return each, time.Duration(slices.Max(t.at) - begin.UnixNano())
}

var (
	eventHead   = []byte(`{"op":"event","seq":`)
	numbersHead = []byte(`{"op":"unreads"`)
	helloHead   = []byte(`{"op":"hello","seq":`)
	resyncHead  = []byte(`{"op":"resync"`)
	numberHead  = []byte(`"details":{"id":`)
)

// number returns the number of the next event in an event's text or its frame, and
// where it stands; ok is false when there is none.
func number(text []byte) (n int64, begin, end int, ok bool) {
	begin = bytes.Index(text, numberHead)
	if begin < 0 {
		return 0, 0, 0, false
	}
	begin += len(numberHead)
	n, size := digits(text[begin:])
	return n, begin, begin + size, size > 0
}

// digits returns the number at the beginning of text, and its length, or 0.
func digits(text []byte) (n int64, size int) {
	for size < len(text) && '0' <= text[size] && text[size] <= '9' {
		size++
	}
	n, err := strconv.ParseInt(string(text[:size]), 10, 64)
	if err != nil {
		return 0, 0
	}
	return n, size
}
