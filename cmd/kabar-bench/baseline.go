package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// baselineFlags name an earlier build, which is measured in turn with this one.
type baselineFlags struct {
	Baseline      string `help:"A kabar-bench of an earlier commit: it and this one measure a round each by turns, and the report compares them." type:"existingfile" placeholder:"BINARY"`
	BaselineKabar string `help:"The daemon of the baseline; the kabar beside BINARY when absent." type:"existingfile" placeholder:"PATH"`
}

// check validates the flags.
func (f baselineFlags) check(profile string) error {
	switch {
	case f.Baseline == "" && f.BaselineKabar != "":
		return errors.New("--baseline-kabar needs --baseline")
	case f.Baseline != "" && profile != "":
		return errors.New("--profile and --baseline cannot be combined")
	}
	return nil
}

// daemon returns the path of the baseline's daemon. It is required, because the baseline's
// kabar-bench would otherwise build a daemon from the sources of this build.
func (f baselineFlags) daemon() (string, error) {
	if f.BaselineKabar != "" {
		return f.BaselineKabar, nil
	}
	path := filepath.Join(filepath.Dir(f.Baseline), "kabar")
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return "", fmt.Errorf("the baseline's daemon is not at %s: build it there from the same commit, or give --baseline-kabar", path)
	}
	return path, nil
}

// A build is a load generator with the daemon that it measures.
type build struct {
	name         string // ours or baseline
	bench, kabar string
}

// builds returns this build and the baseline.
func (f baselineFlags) builds(kabar string) (ours, baseline build, err error) {
	self, err := os.Executable()
	if err != nil {
		return ours, baseline, err
	}
	daemon, err := f.daemon()
	if err != nil {
		return ours, baseline, err
	}
	return build{"ours", self, kabar}, build{"baseline", f.Baseline, daemon}, nil
}

// version returns the version of the daemon, or "".
func (b build) version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, b.kabar, "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// A childReport is the report of a round, as a load generator prints it with --json.
type childReport interface {
	// rows returns the rows that can be compared, in an order that depends only on the
	// settings.
	rows() []row
	// options returns the settings, a comparable struct.
	options() any
}

// inTurns has two builds measure one round each, rounds times. The builds take turns in
// going first, so that neither always follows the other. It returns one report of all
// rounds for each build.
//
// blank returns an empty report with the settings of a single round.
func inTurns[R childReport](rounds int, a, b build, blank func() R, measure func(round int, of build, into R) error) (ofA, ofB R, err error) {
	var reports [2]R
	for n := range rounds {
		for k := range 2 {
			which := (n + k) % 2
			of, got := []build{a, b}[which], blank()
			if err := measure(n+1, of, got); err != nil {
				return ofA, ofB, fmt.Errorf("%s, round %d: %w", of.name, n+1, err)
			}
			if want := blank().options(); got.options() != want {
				return ofA, ofB, fmt.Errorf("%s measured with the settings %+v, not with %+v", of.name, got.options(), want)
			}
			if n == 0 {
				reports[which] = got
			} else if err := join(reports[which].rows(), got.rows()); err != nil {
				return ofA, ofB, fmt.Errorf("%s, round %d: %w", of.name, n+1, err)
			}
		}
	}
	if err := sameCases(reports[0].rows(), reports[1].rows()); err != nil {
		return ofA, ofB, err
	}
	return reports[0], reports[1], nil
}

// measureRound runs a build with a command line that prints its report as JSON, and reads
// the report. The build's other output goes to log.
func (b build) measureRound(ctx context.Context, args []string, log io.Writer, into any) error {
	cmd := exec.CommandContext(ctx, b.bench, append(args, "--kabar="+b.kabar)...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                 // Ctrl-C is for us to handle
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its own processes
	cmd.WaitDelay = cancelWithin
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w", b.bench, err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("report of %s: %w", b.bench, err)
	}
	return nil
}

// cancelWithin limits how long a load generator may take to stop all of its processes.
const cancelWithin = 4 * stopWithin

// compare measures this build and the baseline in turn. args is the command line of a
// round, without the daemon.
func compare[R childReport](ctx context.Context, e *env, f baselineFlags, kabar string, rounds int, args []string, blank func() R) (ours R, _ *baselineReport, err error) {
	a, b, err := f.builds(kabar)
	if err != nil {
		return ours, nil, err
	}
	ours, baseline, err := inTurns(rounds, a, b, blank, func(round int, of build, into R) error {
		e.progress("round %d of %d, %s:", round, rounds, of.name)
		return of.measureRound(ctx, args, e.err, into)
	})
	if err != nil {
		return ours, nil, err
	}
	return ours, &baselineReport{
		Binary:  f.Baseline,
		Version: b.version(ctx),
		Figures: compareRows(ours.rows(), baseline.rows()),
	}, nil
}

// flag writes a flag as an argument.
func flag[V int | float64 | string | time.Duration](name string, value V) string {
	return fmt.Sprintf("--%s=%v", name, value)
}
