package delivery

import (
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

func TestLanesPauseByPriority(t *testing.T) {
	type told struct {
		after      time.Duration // since noon
		lane       push.Lane
		started    time.Duration // since noon
		retryAfter time.Duration
	}
	for _, c := range []struct {
		name string
		told []told
		want [len(push.Lanes)]time.Duration // pauses left after the last answer
	}{
		{"bulk first, whichever lane was told", []told{{0, push.Urgent, -time.Second, 0}}, [...]time.Duration{0, 0, slowFor}},
		{"an answer that is older than the pause adds nothing",
			[]told{{0, push.Bulk, -time.Second, 0}, {time.Second, push.Chat, -time.Second, 0}}, [...]time.Duration{0, 0, slowFor - time.Second}},
		{"chat when it is told after bulk paused",
			[]told{{0, push.Bulk, -time.Second, 0}, {2 * time.Second, push.Chat, time.Second, 0}}, [...]time.Duration{0, slowFor, slowFor - 2*time.Second}},
		{"urgent never", []told{{0, push.Urgent, -time.Second, 0}, {2 * time.Second, push.Urgent, time.Second, 0}, {4 * time.Second, push.Urgent, 3 * time.Second, 0}},
			[...]time.Duration{0, slowFor - 2*time.Second, slowFor - 4*time.Second}},
		{"as long as the provider says", []told{{0, push.Bulk, -time.Second, 7 * time.Second}}, [...]time.Duration{0, 0, 7 * time.Second}},
		{"never longer than a bound", []told{{0, push.Bulk, -time.Second, time.Hour}}, [...]time.Duration{0, 0, maxSlow}},
	} {
		var s slowdown
		now := noon
		for _, a := range c.told {
			now = noon.Add(a.after)
			s, _, _ = s.slowed(now, a.lane, noon.Add(a.started), a.retryAfter)
		}
		for _, l := range push.Lanes {
			if got := s.wait(l, now); got != c.want[l] {
				t.Errorf("%s: %s pauses for %v, want %v", c.name, l, got, c.want[l])
			}
		}
	}
}

func TestLaneStartsAgainWithAFew(t *testing.T) {
	s, _, _ := slowdown{}.slowed(noon, push.Bulk, ago(time.Second), 0)
	end := noon.Add(slowFor)
	last := 0
	for after := time.Duration(0); after < reopenFor; after += time.Second {
		n, limited := s.allowance(push.Bulk, end.Add(after))
		if !limited || n <= last {
			t.Errorf("%v after the pause: %d a second, limited %v; before it was %d", after, n, limited, last)
		}
		last = n
	}
	if first, _ := s.allowance(push.Bulk, end); first != reopenFirst {
		t.Errorf("it starts with %d a second", first)
	}
	if _, limited := s.allowance(push.Bulk, end.Add(reopenFor)); limited || !s.over(end.Add(reopenFor)) {
		t.Error("the limit does not end")
	}
	if _, limited := s.allowance(push.Urgent, noon); limited {
		t.Error("the urgent lane is limited")
	}
}
