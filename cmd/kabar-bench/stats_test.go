package main

import (
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Errorf("median changed %v to %v", before, c.values)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for _, c := range []struct {
		sorted  []float64
		p, want float64
	}{
		{nil, 50, 0},
		{[]float64{3}, 1, 3},
		{[]float64{3}, 99, 3},
		{[]float64{1, 2}, 50, 1},
		{[]float64{1, 2}, 51, 2},
		{hundred, 0, 1},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 100},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("percentile of %d values at %v = %v, want %v", len(c.sorted), c.p, got, c.want)
		}
	}
}

func TestFigure(t *testing.T) {
	var f figure
	for _, v := range []float64{3.14159, 1, 2.5} {
		f.add(v)
	}
	if want := []float64{3.14, 1, 2.5}; !slices.Equal(f.Rounds, want) || f.Median != 2.5 {
		t.Errorf("rounds %v, median %v, want %v", f.Rounds, f.Median, want)
	}
}

func TestRatio(t *testing.T) {
	if got := ratio(100, 30); got != 3.33 {
		t.Errorf("ratio(100, 30) = %v", got)
	}
	if got := ratio(100, 0); got != 0 {
		t.Errorf("ratio(100, 0) = %v: it must be one that JSON can hold", got)
	}
}
