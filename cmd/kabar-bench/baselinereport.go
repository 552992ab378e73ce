package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A row of a report has the figures of one case.
type row interface {
	// name tells the case from the others of the report.
	name() string
	// measured returns all figures.
	measured() []measured
	// judge derives ratios and goals from the figures.
	judge()
}

// A measured figure has a title, with the unit.
type measured struct {
	title  string
	figure *figure
}

var errOtherCases = errors.New("the reports have other cases than each other")

// sameCases checks that two reports have the same cases.
func sameCases(a, b []row) error {
	if names(a) != names(b) {
		return fmt.Errorf("%w: %s; %s", errOtherCases, names(a), names(b))
	}
	return nil
}

func names(rows []row) string {
	var all []string
	for _, r := range rows {
		all = append(all, r.name())
	}
	return strings.Join(all, ", ")
}

// join adds further rounds of the same cases to what was measured so far.
func join(sum, more []row) error {
	if err := sameCases(sum, more); err != nil {
		return err
	}
	for i, r := range sum {
		added := more[i].measured()
		for k, m := range r.measured() {
			for _, v := range added[k].figure.Rounds {
				m.figure.add(v)
			}
		}
		r.judge()
	}
	return nil
}

// A baselineReport compares this build with an earlier one. Their rounds were made in turn.
type baselineReport struct {
	Binary  string       `json:"binary"`
	Version string       `json:"version"` // of the daemon
	Figures []comparison `json:"figures"`
}

// A comparison is one figure of one case, of both builds.
type comparison struct {
	Case     string  `json:"case"`
	Title    string  `json:"figure"`
	Ours     figure  `json:"ours"`
	Baseline figure  `json:"baseline"`
	Ratio    float64 `json:"ours_to_baseline"` // of the medians
}

// compareRows compares two reports of the same cases: first a figure in all cases that
// have it, then the next one. What the baseline did not measure yet is left out.
func compareRows(ours, baseline []row) []comparison {
	var titles []string
	cases := make(map[string][]comparison)
	for i, r := range ours {
		theirs := baseline[i].measured()
		for k, m := range r.measured() {
			title, a, b := m.title, *m.figure, *theirs[k].figure
			if !slices.Contains(titles, title) {
				titles = append(titles, title)
			}
			if len(b.Rounds) > 0 {
				cases[title] = append(cases[title], comparison{r.name(), title, a, b, ratio(a.Median, b.Median)})
			}
		}
	}
	var all []comparison
	for _, title := range titles {
		all = append(all, cases[title]...)
	}
	return all
}

// text is the comparison for people: a table of each figure.
func (r *baselineReport) text() string {
	rows := [][]string{{"", "ours", "baseline", "ratio"}}
	last := ""
	for _, f := range r.Figures {
		if f.Title != last {
			rows = append(rows, []string{f.Title, "", "", ""})
			last = f.Title
		}
		rows = append(rows, []string{"  " + f.Case, short(f.Ours.Median), short(f.Baseline.Median), fmt.Sprintf("%.2f", f.Ratio)})
	}
	version := ""
	if r.Version != "" {
		version = ", " + r.Version
	}
	return fmt.Sprintf("\nby turns with the baseline %s%s\n\n%s", r.Binary, version, align(rows))
}

// short writes a value with a precision that suits its size.
func short(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
