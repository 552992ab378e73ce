package main

import (
	"math"
	"slices"
)

// A figure is one quantity, measured once in every counted round.
type figure struct {
	Median float64   `json:"median"`
	Rounds []float64 `json:"rounds"`
}

// add notes the next round's value, to a hundredth.
func (f *figure) add(v float64) {
	f.Rounds = append(f.Rounds, math.Round(v*100)/100)
	f.Median = median(f.Rounds)
}

// median returns the middle of values, and of an even number of them the mean of
// the middle two; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// percentile returns the smallest of the sorted values that p per cent of them do
// not exceed; 0 of none.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// ratio returns a / b to a hundredth, and 0 where there is no b.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return math.Round(100*a/b) / 100
}
