// Command kabar is the gateway's daemon, and its operator's commands.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/kabar-gateway/kabar/cmd/internal/app"
	"github.com/kabar-gateway/kabar/cmd/internal/cli"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// version is set by the linker.
var version = "unknown"

// grammar is the command line. Each command is a type with a Run method.
type grammar struct {
	Config string `help:"Configuration file (YAML). Every key can also be set by a variable, as KABAR_REDIS_URL." type:"existingfile" env:"KABAR_CONFIG" short:"c" placeholder:"FILE"`

	Version kong.VersionFlag `help:"Print the version."`

	Serve       serveCmd       `cmd:"" help:"Run the gateway."`
	ConfigCmd   configCmd      `cmd:"" name:"config" help:"Look at the configuration."`
	Send        sendCmd        `cmd:"" help:"Publish events from a file or standard input (JSON, an array, or one a line)."`
	Event       eventCmd       `cmd:"" help:"Tell what became of an event."`
	Devices     devicesCmd     `cmd:"" help:"List a user's devices, or unsuspend them."`
	Dead        deadCmd        `cmd:"" help:"Look at dead letters, and requeue or drop them."`
	Audit       auditCmd       `cmd:"" help:"Recompute the counters of a user, or of all, and report differences."`
	Broadcast   broadcastCmd   `cmd:"" help:"Follow, pause, resume or cancel broadcasts."`
	Doctor      doctorCmd      `cmd:"" help:"Check Redis, the clock, FCM and APNs: what works, what does not, what to do."`
	VAPID       vapidCmd       `cmd:"" name:"vapid" help:"Make a key for pushes to browsers, and print it as configuration."`
	Healthcheck healthcheckCmd `cmd:"" help:"Exit with 0 when the gateway of this configuration is ready (for containers)." hidden:""`
}

// env is the environment of a command.
type env struct {
	ctx    context.Context
	config string
	vars   []string
	in     io.Reader
	out    io.Writer
	err    io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(&env{ctx: ctx, vars: os.Environ(), in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes a command line and returns the exit code: 0 done, 1 failed, 2 the
// command line is wrong.
func run(e *env, args []string) int {
	var c grammar
	return cli.Run("kabar", "Push-notification and messaging gateway.", &c, args, e.out, e.err,
		func(command *kong.Context) error {
			e.config = c.Config
			return command.Run(e)
		}, kong.Vars{"version": version})
}

// load reads the configuration.
func (e *env) load() (*config.Config, error) {
	vars := make([]string, 0, len(e.vars))
	for _, v := range e.vars {
		if !strings.HasPrefix(v, "KABAR_CONFIG=") { // is the flag's
			vars = append(vars, v)
		}
	}
	cfg, err := config.Load(e.config, vars)
	if err != nil {
		return nil, fmt.Errorf("configuration:\n%w", err)
	}
	return cfg, nil
}

// core opens the stores and the dispatcher for the operator's commands.
func (e *env) core() (*app.Core, error) {
	cfg, err := e.load()
	if err != nil {
		return nil, err
	}
	return app.OpenCore(e.ctx, cfg, nil, slog.New(slog.NewTextHandler(e.err, nil)), nil)
}

type serveCmd struct{}

// gcPercent lets the heap grow to five times the live data between collections. The heap
// is small and short-lived, and this saves an eighth of the instructions of a push. GOGC
// takes precedence.
const gcPercent = 400

// Run implements the command.
func (serveCmd) Run(e *env) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	cfg, err := e.load()
	if err != nil {
		return err
	}
	a, err := app.New(e.ctx, cfg, app.NewLogger(cfg.Log, e.err))
	if err != nil {
		return err
	}
	return a.Run(e.ctx)
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Validate the configuration and print what is in effect."`
}

type configCheckCmd struct{}

// Run implements the command.
func (configCheckCmd) Run(e *env) error {
	cfg, err := e.load()
	if err != nil {
		return err
	}
	if _, err := text.New(text.Options{Folder: cfg.Texts}); err != nil {
		return err // serve would fail, too
	}
	effective, err := cfg.YAML()
	if err != nil {
		return err
	}
	_, err = e.out.Write(effective)
	return err
}
