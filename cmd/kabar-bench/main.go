// Command kabar-bench is the load generator of Kabar. A scenario starts all processes that
// it needs on free ports of 127.0.0.1, puts load on the gateway, and prints the cost of one
// unit of work beside the cost of the same work without a gateway, measured in the same
// run.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/kabar-gateway/kabar/cmd/internal/cli"
)

// grammar is the command line. Each scenario is a type with a Run method.
type grammar struct {
	output
	AuditRounds bool `help:"Audit what is in Redis after each round, and not only at the end. Takes longer; not of a gateway elsewhere."`

	Push      pushCmd      `cmd:"" help:"From a published event to the provider's answer: pushes a second, CPU a push, latency."`
	Live      liveCmd      `cmd:"" help:"Live sockets: memory of idle ones, CPU and latency of an event, thousands that come back at once."`
	Broadcast broadcastCmd `cmd:"" help:"What a broadcast to everyone does to the latency of urgent pushes."`
	Scale     scaleCmd     `cmd:"" help:"What an event costs with more users, Redis shards and gateways, and the memory of Redis."`

	Sandbox     sandboxCmd     `cmd:"" name:"serve-sandbox" hidden:""`
	Bare        bareCmd        `cmd:"" name:"serve-bare" hidden:""`
	BareSockets bareSocketsCmd `cmd:"" name:"serve-bare-sockets" hidden:""`
}

// env is the environment of a command.
type env struct {
	ctx    context.Context
	in     io.Reader
	out    io.Writer
	err    io.Writer
	output output

	auditRounds bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(&env{ctx: ctx, in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes a command line and returns the exit code: 0 done, 1 failed, 2 the
// command line is wrong.
func run(e *env, args []string) int {
	var c grammar
	return cli.Run("kabar-bench", "Measures Kabar on this machine.", &c, args, e.out, e.err,
		func(command *kong.Context) error {
			e.output, e.auditRounds = c.output, c.AuditRounds
			return command.Run(e)
		})
}

// progress reports the progress of a scenario on standard error.
func (e *env) progress(format string, args ...any) {
	fmt.Fprintf(e.err, format+"\n", args...)
}

// output says where a scenario's report goes.
type output struct {
	JSON bool   `name:"json" help:"Print JSON instead of tables."`
	File string `name:"output" short:"o" help:"Write the JSON into this file, too." type:"path" placeholder:"FILE"`
}

// A report is the result of a scenario. It marshals to JSON.
type report interface {
	// tables writes the report for people.
	tables(w io.Writer) error
}

// write puts a report where the command line asks for it.
func (e *env) write(r report) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	text = append(text, '\n')
	if e.output.File != "" {
		if err := os.WriteFile(e.output.File, text, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if e.output.JSON {
		_, err = e.out.Write(text)
		return err
	}
	return r.tables(e.out)
}
