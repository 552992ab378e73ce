package delivery

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices"
)

func suspectSince(since time.Time, acceptedDay int) devices.Device {
	return devices.Device{ID: "d", Generation: noon.Add(-240 * time.Hour).UnixMicro(), AcceptedDay: acceptedDay, Suspect: &devices.Suspect{
		Since: since.UnixMilli(), Next: since.Add(recheckAfter).UnixMilli(), Reason: "UNREGISTERED",
	}}
}

// TestSecondVerdict says when a second verdict has a device forgotten.
func TestSecondVerdict(t *testing.T) {
	began := ago(20 * 24 * time.Hour)
	yesterday, never, longAgo := devices.Day(noon)-1, 0, devices.Day(noon)-40
	healthy := noon
	calm, stormy, everybody := storm{1000, 6, healthy, began}, storm{100, 20, healthy, began}, storm{200, 200, ago(time.Hour), began}
	for _, c := range []struct {
		name        string
		acceptedDay int
		storm       storm
		after       time.Duration // between the first verdict and the attempt of the second
		forget      bool
	}{
		{"too early", yesterday, calm, recheckAfter - time.Millisecond, false},
		{"after a minute", yesterday, calm, recheckAfter, true},
		{"a storm, after a minute", yesterday, stormy, recheckAfter, false},
		{"a storm, after an hour", yesterday, stormy, stormRecheck, true},
		{"a storm, a device that was never accepted", never, stormy, recheckAfter, true},
		{"a storm, a device that was accepted long ago", longAgo, stormy, recheckAfter, false},
		{"no storm, a device that was accepted long ago", longAgo, calm, recheckAfter, true},
		{"everybody is called dead", yesterday, everybody, 10 * 24 * time.Hour, false},
		{"everybody, a device that was never accepted", never, everybody, recheckAfter, true},
		{"all of four", yesterday, storm{4, 4, healthy, began}, 23 * time.Hour, false},
		{"all of four, after a day", yesterday, storm{4, 4, healthy, began}, 24 * time.Hour, true},
		{"one of four", yesterday, storm{4, 1, healthy, began}, recheckAfter, true},
		{"five of five", yesterday, storm{5, 5, healthy, began}, recheckAfter, false},
		{"five of ten, nothing was accepted since the first verdict", yesterday, storm{10, 5, ago(5 * time.Minute), began}, recheckAfter, false},
		{"the same after a day", yesterday, storm{10, 5, ago(25 * time.Hour), began}, 24 * time.Hour, true},
	} {
		since := ago(c.after)
		after, forget := judgeDevice(suspectSince(since, c.acceptedDay), "UNREGISTERED", noon, noon.Add(time.Second), c.storm)
		if forget != c.forget {
			t.Errorf("%s: forgotten %v", c.name, forget)
		}
		if !forget && (after.Suspect.Since != since.UnixMilli() || after.Suspect.Next <= noon.UnixMilli()) {
			t.Errorf("%s: %+v", c.name, after.Suspect)
		}
	}
	registeredBefore := suspectSince(ago(recheckAfter), never)
	registeredBefore.Generation = began.Add(-time.Hour).UnixMicro()
	if _, forget := judgeDevice(registeredBefore, "UNREGISTERED", noon, noon, stormy); forget {
		t.Error("a storm: a device that was registered before acceptances were noted was forgotten")
	}
	first, forget := judgeDevice(devices.Device{ID: "d"}, "UNREGISTERED", noon, noon, calm)
	if forget || first.Suspect == nil || first.Suspect.Next != noon.Add(recheckAfter).UnixMilli() {
		t.Errorf("a first verdict: %+v, forgotten %v", first.Suspect, forget)
	}
	if d := cleared(suspectSince(noon, 0), noon, ""); d.Suspect != nil || d.AcceptedDay != devices.Day(noon) {
		t.Errorf("an acceptance leaves %+v", d)
	}
}

func TestPushesWaitBehindTheRecheck(t *testing.T) {
	d := suspectSince(noon, 0)
	due := noon.Add(recheckAfter)
	for _, c := range []struct {
		name    string
		device  devices.Device
		recheck bool
		now     time.Time
		want    time.Duration
	}{
		{"no suspect", devices.Device{}, false, noon, 0},
		{"the recheck", d, true, due, 0},
		{"before the recheck", d, false, noon.Add(10 * time.Second), recheckAfter - 10*time.Second + behind},
		{"while it is under way", d, false, due.Add(time.Second), behind},
		{"after it was lost", d, false, due.Add(lostRecheck), 0},
	} {
		if got := suspectWait(c.device, c.recheck, c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A simulation of 30 days: 1 % of the devices are uninstalled each day, and in an outage of
// three hours the provider calls every device dead. Each device gets two pushes a day.
func TestMonth(t *testing.T) {
	const fleet, days, outageDay, step = 200, 30, 12, 5
	random := rand.New(rand.NewPCG(1, 2))
	type phone struct {
		device          devices.Device
		dead, forgotten bool
		next            []time.Duration // attempts to come, in order
	}
	phones := make([]*phone, fleet)
	for i := range phones {
		phones[i] = &phone{device: devices.Device{ID: fmt.Sprint(i), AcceptedDay: devices.Day(noon)}}
	}
	start := noon
	var accepted time.Time
	attempted, called := map[string]time.Time{}, map[string]time.Time{}
	count := func(now time.Time) (s storm) {
		s.accepted = accepted
		for _, at := range attempted {
			if now.Sub(at) < window {
				s.attempted++
			}
		}
		for _, at := range called {
			if now.Sub(at) < window {
				s.dead++
			}
		}
		return s
	}
	attempt := func(p *phone, now time.Time, outage bool) {
		current := isCurrent(p.device, now, start)
		if current {
			attempted[p.device.ID] = now
		}
		if !p.dead && !outage {
			p.device, accepted = cleared(p.device, now, ""), now
			return
		}
		if current {
			called[p.device.ID] = now
		}
		p.device, p.forgotten = judgeDevice(p.device, "UNREGISTERED", now, now, count(now))
	}
	for day := range days {
		for _, p := range phones {
			p.dead = p.dead || random.Float64() < 0.01
			p.next = []time.Duration{time.Duration(random.Int64N(int64(12 * time.Hour))), 12*time.Hour + time.Duration(random.Int64N(int64(12*time.Hour)))}
		}
		for minute := 0; minute < 24*60; minute += step {
			since := time.Duration(minute) * time.Minute
			now := start.Add(time.Duration(day)*24*time.Hour + since)
			outage := day == outageDay && minute >= 600 && minute < 780
			for _, p := range phones {
				if p.forgotten {
					continue
				}
				recheck := p.device.Suspect != nil && now.UnixMilli() >= p.device.Suspect.Next
				due := len(p.next) > 0 && p.next[0] <= since
				if due {
					p.next = p.next[1:]
				}
				if recheck || due && p.device.Suspect == nil {
					attempt(p, now, outage)
				}
			}
		}
	}
	dead, forgotten := 0, 0
	for _, p := range phones {
		if p.forgotten && !p.dead {
			t.Errorf("device %s was forgotten by mistake", p.device.ID)
		}
		if p.dead {
			dead++
			if p.forgotten {
				forgotten++
			}
		}
	}
	if dead < fleet/10 || forgotten < dead*9/10 {
		t.Errorf("%d of %d uninstalled devices were forgotten", forgotten, dead)
	}
}
