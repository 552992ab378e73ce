package outbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// fill adds entries to drop and entries to keep, in turn, to every stream, delayed set and
// waiting set of a partition. The chat lane gets more than a page. It returns the number of each kind,
// by the name of the set.
func (w *world) fill(partition int) map[string]int {
	n := make(map[string]int)
	for _, l := range push.Lanes {
		of := 1
		if l == push.Chat {
			of = 3*scanPage/2 + 1 // both kinds together fill three pages and a bit more
		}
		for i := range of {
			for _, what := range []string{"drop", "keep"} {
				w.queue(partition, l, fmt.Sprint(what, " queued ", i))
				w.delay(partition, l, fmt.Sprint(what, " delayed ", i))
				w.wait(partition, l, "ios", fmt.Sprint(what, " waiting ", i), far)
			}
		}
		n["out:"+l.String()], n["delayed:"+l.String()], n["delayed:"+l.String()+":ios"] = of, of, of
	}
	for i, what := range []string{"drop", "keep"} {
		w.bury(partition, now.Add(time.Duration(i)*time.Second), push.Chat, what+" dead")
	}
	return n
}

// count returns how many queued and delayed entries of a partition begin with a word, by
// the name of the set.
func (w *world) count(partition int, word string) map[string]int {
	w.t.Helper()
	n := make(map[string]int)
	seen := make(map[string]bool)
	err := w.EachEntry(w.t.Context(), partition, func(set, value string) {
		if strings.HasPrefix(value, word) && !seen[set+value] {
			n[set]++
		}
		seen[set+value] = true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestEachEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := w.fill(1)
	w.queue(2, push.Chat, "keep")
	for _, word := range []string{"drop", "keep"} {
		for range 2 { // reading drops nothing
			if diff := cmp.Diff(want, w.count(1, word)); diff != "" {
				t.Errorf("%s: %s", word, diff)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"out:chat": 1}, w.count(2, "keep")); diff != "" {
		t.Errorf("another partition: %s", diff)
	}
	if dead := w.values(w.deadKey(1)); len(dead) != 2 {
		t.Errorf("dead letters %v", dead)
	}
}

func TestDropEntries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := w.hold(1, push.Bulk, "drop held")
	want := w.fill(1)
	w.fill(2)
	match := func(value string) bool { return strings.HasPrefix(value, "drop") }
	for range 2 { // the second time, nothing is left to drop
		if err := w.DropEntries(t.Context(), 1, match); err != nil {
			t.Fatal(err)
		}
		if dropped := w.count(1, "drop"); len(dropped) > 0 {
			t.Errorf("left %v", dropped)
		}
		if diff := cmp.Diff(want, w.count(1, "keep")); diff != "" {
			t.Errorf("kept: %s", diff)
		}
		if dead := w.values(w.deadKey(1)); !slices.Equal(dead, []string{"keep dead"}) {
			t.Errorf("dead letters %v", dead)
		}
	}
	if n := w.pending(w.StreamKey(1, push.Bulk)); n != 0 {
		t.Errorf("%d entries are still held", n)
	}
	if held, _ := w.settleEntry(&Settlement{Key: held, Lane: push.Bulk}); held {
		t.Error("an entry that was dropped is settled")
	}
	if diff := cmp.Diff(want, w.count(2, "drop")); diff != "" {
		t.Errorf("another partition: %s", diff)
	}
}
