// Package cli parses and runs the command lines of the daemon, the load generator and the
// playground.
package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Run parses a command line and calls execute with the command. The grammar is a pointer to
// a struct with kong's tags; an invalid one panics. Without arguments Run prints help. It
// returns the exit code: 0 for success and help, 1 when the command failed, 2 when the
// command line is invalid.
func Run(name, description string, grammar any, args []string, stdout, stderr io.Writer, execute func(*kong.Context) error, more ...kong.Option) int {
	code := -1
	options := append([]kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code = n }), // --help exits here
	}, more...)
	parser, err := kong.New(grammar, options...)
	if err != nil {
		panic(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if code >= 0 {
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 2
	}
	if err := execute(command); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// IsTerminal reports whether out is a terminal.
func IsTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
