package rdb

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"

	"github.com/redis/go-redis/v9"
)

// A Script is Lua source with its digest.
type Script struct{ source, sha string }

// NewScript returns a script. Its source should say KEYS, ARGV and reply.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, sha: hex.EncodeToString(sum[:])}
}

// Command returns an invocation of the script for Batcher.Do.
func (s *Script) Command(ctx context.Context, keys []string, args ...any) *Command {
	cmd := redis.NewCmd(ctx, s.args("evalsha", s.sha, keys, args)...)
	return &Command{Cmd: cmd, again: func() *redis.Cmd {
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

// A Command is one Redis command on its way through a Batcher. After Do returned
// nil, Cmd holds its reply or its error.
type Command struct {
	*redis.Cmd
	again func() *redis.Cmd // the same with the script's source, or nil
}

// NewCommand returns a plain command.
func NewCommand(ctx context.Context, args ...any) *Command {
	return &Command{Cmd: redis.NewCmd(ctx, args...)}
}

// key returns the first key of the command.
func (c *Command) key() string {
	i := 1
	if c.again != nil {
		i = 3
	}
	key, _ := c.Args()[i].(string)
	return key
}

// ErrReply reports that a script or command replied in another form than it should.
var ErrReply = errors.New("redis replied in an unexpected form")

// Run runs the script by itself, outside of a Batcher's pipelines.
func (s *Script) Run(ctx context.Context, client redis.UniversalClient, keys []string, args ...any) *redis.Cmd {
	c := s.Command(ctx, keys, args...)
	_ = client.Process(ctx, c.Cmd) // the command holds its own error
	if redis.HasErrorPrefix(c.Err(), "NOSCRIPT") {
		c.Cmd = c.again()
		_ = client.Process(ctx, c.Cmd)
	}
	return c.Cmd
}
