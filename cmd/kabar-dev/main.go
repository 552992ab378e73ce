// Command kabar-dev is the playground: one command that starts Redis, fake FCM
// and APNs, the gateway, demo users and their phones, prints what to try, shows
// each push as it reaches a phone, and serves a page where two of them chat.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
)

// stopSignals stop the playground cleanly. SIGHUP, of a terminal that is closed, would
// otherwise leave redis-server running.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// flags is the command line.
type flags struct {
	Listen      string      `help:"Address of the gateway; ${listen}, or a free port where that is taken, unless set." placeholder:"HOST:PORT"`
	AdminListen string      `help:"Address of metrics and health; ${admin}, or a free port where that is taken, unless set." placeholder:"HOST:PORT"`
	PageListen  string      `help:"Address of the page to look at; ${page}, or a free port where that is taken, unless set." placeholder:"HOST:PORT"`
	Data        string      `help:"Folder that keeps Redis' data for the next run; ${default} unless set." default:"./kabar-data" placeholder:"DIR"`
	Fault       []faultFlag `help:"Let the fake FCM and APNs misbehave: NAME for all devices, NAME=0.3 for that share of them, NAME=2x twice; of one service with fcm:NAME or apns:NAME. Repeatable. --fault list prints the names." placeholder:"FAULT" sep:"none"`
	Origin      []string    `help:"Let pages of this origin use the gateway and its sockets, such as http://localhost:3000. Repeatable." placeholder:"ORIGIN"`
	InMemory    bool        `help:"Use the embedded Redis even where redis-server is installed, and keep nothing."`
}

// errUsage reports a command line that is wrong.
var errUsage = errors.New("see --help")

func main() {
	signal.Ignore(syscall.SIGPIPE) // a closed output is reported as a write error
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals...)
	err := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kabar-dev:", err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errAborted):
		return 130 // the exit code of shells after an interrupt
	default:
		return 1
	}
}

// run runs the playground until ctx ends and stops it; another signal aborts the stop. The
// error is nil after a clean stop, wraps errAborted after an aborted one, and errUsage when
// the command line is invalid.
func run(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	f, err := parse(stdout, stderr, args)
	if f == nil || err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &playground{flags: *f, stdout: stdout, stderr: stderr, fail: cancel}
	done := make(chan error, 1)
	go func() { done <- p.play(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, stopSignals...)
	defer signal.Stop(again)
	fmt.Fprintln(stdout, "\nStopping. Ctrl-C again aborts.")
	select {
	case err := <-done:
		return err
	case <-again:
		return errors.Join(errAborted, p.abort())
	}
}

// parse reads the command line. It returns nil without an error after printing help or the
// faults.
func parse(stdout, stderr io.Writer, args []string) (*flags, error) {
	f := &flags{}
	helped := false
	parser, err := kong.New(f,
		kong.Name("kabar-dev"),
		kong.Description("The playground: everything that Kabar needs in one process, with demo users and phones, and what to try."),
		kong.Vars{"listen": presetListen, "admin": presetAdmin, "page": presetPage},
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), // --help exits here
	)
	if err != nil {
		panic(err) // the grammar above is wrong
	}
	_, err = parser.Parse(args)
	switch {
	case helped:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w (%w)", err, errUsage)
	case slices.ContainsFunc(f.Fault, faultFlag.lists):
		return nil, printFaults(stdout)
	}
	return f, nil
}
