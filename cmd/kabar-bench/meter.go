package main

import "context"

// A counter returns how much was used or written so far: CPU time in µs, or bytes.
type counter func(ctx context.Context) (float64, error)

// A meter measures by how much counters grow.
type meter struct {
	counters []counter
	before   []float64
}

// startMeter notes where the counters stand.
func startMeter(ctx context.Context, counters ...counter) (*meter, error) {
	m := &meter{counters: counters}
	for _, c := range counters {
		v, err := c(ctx)
		if err != nil {
			return nil, err
		}
		m.before = append(m.before, v)
	}
	return m, nil
}

// used returns by how much each counter has grown since the start, for a unit of work.
func (m *meter) used(ctx context.Context, units int) ([]float64, error) {
	each := make([]float64, len(m.counters))
	for i, c := range m.counters {
		now, err := c(ctx)
		if err != nil {
			return nil, err
		}
		each[i] = (now - m.before[i]) / float64(units)
	}
	return each, nil
}
