package rdb

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	maxJoint      = 8       // commands in one call
	maxJointBytes = 1 << 16 // of the texts in their arguments
)

// Joint marks a script as one that can execute several commands in one call, and returns it.
// Such a call has the KEYS of all commands, one after the other, then all ARGV; its reply is
// an array with one reply for each command. All commands have the same numbers of keys and
// arguments. A Batcher joins up to eight, of a bounded size together, when their keys have
// the same hash tag, also those of different callers; a joined command moves up to the first
// one of its call. If the call fails, the Batcher executes each command by itself, so that
// only the faulty one fails; all must be idempotent.
func (s *Script) Joint() *Script {
	s.joint = true
	return s
}

// A joint is one call of a script that executes several commands.
type joint struct {
	call    *Command
	members []*Command
	bytes   int
}

// join replaces commands of joint scripts by calls that execute several of them.
func join(commands []*Command) (send []*Command, joints []*joint) {
	type key struct {
		script *Script
		tag    string
	}
	var open map[key]*joint // the newest call, while there is room in it
	for _, c := range commands {
		if c.script == nil || !c.script.joint {
			send = append(send, c)
			continue
		}
		k, n := key{c.script, hashTag(c.key())}, size(c)
		j := open[k]
		if j == nil || len(j.members) == maxJoint || j.bytes+n > maxJointBytes {
			if open == nil {
				open = make(map[key]*joint)
			}
			j = &joint{call: c}
			open[k], joints = j, append(joints, j)
			send = append(send, nil) // its place
		}
		j.members, j.bytes = append(j.members, c), j.bytes+n
	}
	place := 0
	for _, j := range joints {
		for send[place] != nil {
			place++
		}
		j.call = j.join()
		send[place] = j.call
	}
	return send, joints
}

// join returns the command that executes all members. A single one executes itself.
func (j *joint) join() *Command {
	if len(j.members) == 1 {
		return j.members[0]
	}
	var keys []string
	var args []any
	for _, c := range j.members {
		keys, args = append(keys, c.keys...), append(args, c.args...)
	}
	return j.members[0].script.Command(context.Background(), keys, args...)
}

// split gives each member its reply. It returns the members that must be executed alone,
// because Redis has refused the call.
func (j *joint) split() []*Command {
	if err := j.call.Cmd.Err(); err != nil {
		if len(j.members) > 1 && answered(err) && !concernsServer(err) {
			return j.members
		}
		for _, c := range j.members {
			c.SetErr(err)
		}
		return nil
	}
	replies, err := j.call.Values(len(j.members))
	for i, c := range j.members {
		c.unconfirmed = j.call.unconfirmed
		c.SetErr(err)
		if err == nil {
			c.SetVal(replies[i])
		}
	}
	return nil
}

// concernsServer reports whether an error says that Redis executes no such call at the moment,
// whatever its arguments are.
func concernsServer(err error) bool {
	return slices.ContainsFunc([]string{"OOM", "READONLY", "NOREPLICAS", "MISCONF", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "BUSY"},
		func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
}

// executeJoint executes the commands of a pipeline, joined where possible.
func (s *shard) executeJoint(ctx context.Context, commands []*Command) {
	send, joints := join(commands)
	s.b.pipeline(ctx, s.waits, send)
	var alone []*joint
	var again []*Command
	for _, j := range joints {
		for _, c := range j.split() {
			alone, again = append(alone, &joint{call: c, members: []*Command{c}}), append(again, c)
		}
	}
	if len(again) == 0 {
		return
	}
	s.b.pipeline(ctx, s.waits, again)
	for _, j := range alone {
		j.split()
	}
}

// size returns the length of the texts among a command's arguments.
func size(c *Command) (n int) {
	for _, arg := range c.args {
		switch text := arg.(type) {
		case string:
			n += len(text)
		case []byte:
			n += len(text)
		}
	}
	return n
}

// hashTag returns the part of a key that determines its slot on a cluster.
func hashTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}
