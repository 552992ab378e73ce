package delivery

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
)

// Outcomes gather while the settler rests. Its rest ends at once for one that something waits
// for, when there are many, and at the end.
func TestSettlerRests(t *testing.T) {
	delayed := &task{delayed: []outbox.Delayed{{}}}
	accepted := func(d devices.Device) *task { return &task{amended: []amendment{{device: d, accepted: true}}} }
	for name, c := range map[string]struct {
		written int // in the batch before
		add     []*task
		want    time.Duration
	}{
		"nothing happens":                  {1, nil, settleLinger - linger},
		"nothing happens after a batch":    {2, nil, settleLinger},
		"few outcomes":                     {1, []*task{{}, {}, {}}, settleLinger - linger},
		"an acceptance of the day":         {1, []*task{accepted(devices.Device{})}, settleLinger - linger},
		"many outcomes":                    {1, []*task{{}, {}, {}, {}}, 0},
		"an entry is delayed":              {1, []*task{delayed}, 0},
		"an entry is delayed with a batch": {2, []*task{delayed}, linger},
		"a suspect device is cleared":      {1, []*task{accepted(devices.Device{Suspect: &devices.Suspect{}})}, 0},
		"a suspended device is cleared":    {1, []*task{accepted(devices.Device{Suspended: "mismatch"})}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &settler{finished: make(chan *task, 10), hurry: make(chan struct{}, 1)}
				for _, added := range c.add {
					s.add(t.Context(), added, 4)
				}
				started := time.Now()
				s.rest(c.written)
				if got := time.Since(started); got != c.want {
					t.Errorf("rested for %v, want %v", got, c.want)
				}
			})
		})
	}
}
