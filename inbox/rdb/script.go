package rdb

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// ErrReply reports that a script replied with another number of values than expected.
var ErrReply = errors.New("unexpected reply")

// A Script is Lua source with its digest.
type Script struct {
	source, sha string
	readOnly    bool
	joint       bool // see Joint
}

//go:embed prelude.lua
var prelude string

// NewScript returns a script that may use the definitions of prelude.lua and of further
// libraries. A library may use prelude.lua and the libraries before it. The script begins
// with the definitions that it uses: see withUsed. Its source should begin with a comment on KEYS, ARGV and the reply.
func NewScript(source string, libraries ...string) *Script {
	for _, library := range slices.Backward(libraries) {
		source = withUsed(library, source)
	}
	source = withUsed(prelude, source)
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, sha: hex.EncodeToString(sum[:])}
}

// ReadOnly marks a script as read-only, and returns it: it does not wait for replicas.
func (s *Script) ReadOnly() *Script {
	s.readOnly = true
	return s
}

// Command returns the command that executes the script.
func (s *Script) Command(ctx context.Context, keys []string, args ...any) *Command {
	cmd := redis.NewCmd(ctx, s.args("evalsha", s.sha, keys, args)...)
	return &Command{Cmd: cmd, script: s, keys: keys, args: args, readOnly: s.readOnly, withSource: func() *redis.Cmd {
		return redis.NewCmd(ctx, s.args("eval", s.source, keys, args)...)
	}}
}

func (s *Script) args(name, script string, keys []string, args []any) []any {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, name, script, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return append(all, args...)
}

// A ScriptError is an error of Redis that a script has caught, and replied as text.
type ScriptError string

// Error implements error.
func (e ScriptError) Error() string { return string(e) }

// RedisError implements [redis.Error].
func (ScriptError) RedisError() {}

// A Command is one Redis command for a Batcher. After Do has returned, Cmd holds the
// reply or the error.
type Command struct {
	*redis.Cmd
	script      *Script  // nil for a plain command
	keys        []string // of a script
	args        []any
	withSource  func() *redis.Cmd // the same command with the script's source; nil for a plain command
	readOnly    bool
	unconfirmed error // error of WAIT for its write
}

// Err returns the command's error, or ErrReplicas when it was executed and too few replicas
// have confirmed it. In that case the command also holds its reply.
func (c *Command) Err() error {
	if err := c.Cmd.Err(); err != nil && !errors.Is(err, redis.Nil) || c.unconfirmed == nil {
		return err
	}
	return c.unconfirmed
}

// readOnlyCommands are the plain commands that do not wait for replicas.
var readOnlyCommands = map[string]bool{
	"get": true, "getrange": true, "mget": true, "exists": true, "hget": true, "hmget": true, "hvals": true, "hgetall": true,
	"smembers": true, "zrangebyscore": true, "zrange": true, "zscore": true, "zcard": true,
}

// NewCommand returns a plain command, in lower case, whose first argument is its key.
func NewCommand(ctx context.Context, args ...any) *Command {
	c := redis.NewCmd(ctx, args...)
	return &Command{Cmd: c, readOnly: readOnlyCommands[c.Name()]}
}

// writes reports whether the command may write.
func (c *Command) writes() bool { return !c.readOnly }

// key returns the first key of the command, or "".
func (c *Command) key() string {
	i := 1
	if c.withSource != nil {
		i = 3
	}
	if i >= len(c.Args()) {
		return ""
	}
	key, _ := c.Args()[i].(string)
	return key
}

// Int64s returns the reply of a command that answers n integers.
func (c *Command) Int64s(n int) ([]int64, error) {
	reply, err := c.Int64Slice()
	return reply, checkLen(len(reply), n, err)
}

// Values returns the reply of a command that answers n values.
func (c *Command) Values(n int) ([]any, error) {
	reply, err := c.Slice()
	return reply, checkLen(len(reply), n, err)
}

func checkLen(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("%w: %d values, not %d", ErrReply, got, want)
	}
	return err
}
