package scrape

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var depthDesc = prometheus.NewDesc("depth", "Depth.", nil, nil)

// A source has one gauge.
type source struct {
	depth float64
	err   error
	reads int
	block chan struct{} // when it is not nil, a read waits for it
}

func (s *source) read(ctx context.Context) ([]prometheus.Metric, error) {
	s.reads++
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return []prometheus.Metric{prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, s.depth)}, nil
}

// collect returns the gauges by name, as text.
func collect(t *testing.T, c *Collector) []string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Error(err)
	}
	var all []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			all = append(all, fmt.Sprint(f.GetName(), m.GetLabel(), " ", m.GetGauge().GetValue()))
		}
	}
	return all
}

func age(seconds int) string {
	return fmt.Sprintf(`kabar_gauges_age_seconds[name:"of" value:"test"] %d`, seconds)
}

// While the source fails, the last values stay, and the age of the values grows.
func TestGaugesDoNotVanish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{depth: 7, err: errors.New("away")}
		c := New("test", time.Now, s.read, depthDesc)
		check := func(want ...string) {
			t.Helper()
			if got := collect(t, c); !slices.Equal(normal(got), normal(want)) {
				t.Errorf("collected %q, want %q", got, want)
			}
		}
		time.Sleep(time.Minute) // of the bubble's clock
		check(age(60))
		s.err = nil
		check("depth[] 7", age(0))
		s.depth, s.err = 8, errors.New("away")
		time.Sleep(time.Minute)
		check("depth[] 7", age(60))
		time.Sleep(time.Minute)
		check("depth[] 7", age(120))
		s.err = nil
		check("depth[] 8", age(0))
	})
}

// normal drops the spaces, which differ between the texts of protocol buffers.
func normal(lines []string) []string {
	var all []string
	for _, line := range lines {
		all = append(all, string(slices.DeleteFunc([]byte(line), func(b byte) bool { return b == ' ' })))
	}
	return all
}

// A scrape waits for a silent source for the timeout at most, even when another scrape is
// waiting already; and scrapes at the same time share one read.
func TestScrapesShareOneRead(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"answers": true, "silent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &source{depth: 7}
				c := New("test", time.Now, s.read, depthDesc)
				collect(t, c)
				s.block = make(chan struct{})
				start := time.Now()
				ends := make(chan []string)
				const scrapes = 3
				for range scrapes {
					go func() { ends <- collect(t, c) }()
					time.Sleep(timeout / 4)
				}
				if answers {
					close(s.block)
				}
				for range scrapes {
					if got := <-ends; len(got) != 2 {
						t.Errorf("collected %q", got)
					}
				}
				if s.reads != 2 || time.Since(start) > timeout {
					t.Errorf("%d reads after the first, %v", s.reads-1, time.Since(start))
				}
			})
		})
	}
}
