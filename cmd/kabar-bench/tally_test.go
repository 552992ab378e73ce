package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	type frame struct{ user, number int64 } // number 0 stands for an unreads frame
	good := []frame{{2, 101}, {1, 100}, {1, 102}, {2, 103}}
	for _, c := range []struct {
		name    string
		numbers bool
		frames  []frame
		want    string // expected error, "" for none
	}{
		{"all", false, good, ""},
		{"numbers that nobody waits for", false, append([]frame{{1, 0}}, append(good, frame{2, 0})...), ""},
		{"numbers behind the events", true, append(slices.Clone(good), frame{1, 0}, frame{1, 0}, frame{2, 0}), ""},
		{"numbers too early", true, append([]frame{{1, 0}, {2, 0}}, good...), "2 are missing and 0 came again; 0 went elsewhere"},
		{"missing", false, good[:3], "1 are missing and 0 came again; 0 went elsewhere"},
		{"again", false, append([]frame{{2, 101}}, good...), "0 are missing and 1 came again; 0 went elsewhere"},
		{"another user's", false, append([]frame{{2, 100}}, good...), "0 are missing and 0 came again; 1 went elsewhere"},
		{"of another round", false, append([]frame{{1, 99}, {1, 104}}, good...), "0 are missing and 0 came again; 2 went elsewhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newTally(100, 2, 2, c.numbers)
			for i, f := range c.frames {
				if f.number == 0 {
					l.numbers(f.user)
				} else {
					l.event(f.user, f.number, begin.Add(time.Duration(i)*time.Millisecond))
				}
			}
			select {
			case <-l.done:
			default:
				l.late = time.Nanosecond // the missing frames never come
			}
			err := l.wait(t.Context(), nil)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if want := errWrongFrames.Error() + ": of 4 and the numbers that follow, " + c.want; !errors.Is(err, errWrongFrames) || err.Error() != want {
				t.Errorf("%v\nwant %s", err, want)
			}
		})
	}
}

func TestTallyWaits(t *testing.T) {
	lost := errors.New("lost")
	failed := make(chan error, 1)
	failed <- lost
	if err := newTally(1, 1, 1, false).wait(t.Context(), failed); !errors.Is(err, lost) {
		t.Errorf("a socket has failed: %v", err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := newTally(1, 1, 1, false).wait(ctx, nil); !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestLatencies(t *testing.T) {
	l := newTally(10, 3, 1, false)
	for i, after := range []time.Duration{25, 30, 50} {
		l.event(int64(i+1), int64(10+i), begin.Add(after*time.Millisecond))
	}
	each, took := l.latencies([]time.Time{begin.Add(2 * time.Millisecond), begin, begin.Add(time.Millisecond)})
	if took != 50*time.Millisecond || !slices.Equal(each, []float64{23, 30, 49}) {
		t.Errorf("%v, took %v", each, took)
	}
}

func TestNumberOfEvent(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int64
		ok   bool
	}{
		{transactionEvent(123, 66, false), 123, true},
		{`{"details":{"id":7},"x":{"details":{"id":8}}}`, 7, true},
		{`{"details":{"id":"7"}}`, 0, false},
		{`{"details":{"id":99999999999999999999}}`, 0, false},
		{`{"details":{}}`, 0, false},
		{``, 0, false},
	} {
		n, begin, end, ok := number([]byte(c.text))
		if n != c.n || ok != c.ok {
			t.Errorf("%s: %d, %t", c.text, n, ok)
		}
		if ok && c.text[begin:end] != "7" && c.text[begin:end] != "123" {
			t.Errorf("%s: the number was found in %q", c.text, c.text[begin:end])
		}
	}
}
