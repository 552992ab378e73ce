// Package cli runs the command lines of the daemon and of the load generator.
package cli

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// Run parses a command line by a grammar, a pointer to a struct with kong's tags, has
// execute carry out the command that it names, and returns the exit code: 0 done or
// helped, 1 failed, 2 the command line is wrong. Without arguments it prints help.
// Name is the program's, description what it does. It panics when the grammar is wrong.
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
