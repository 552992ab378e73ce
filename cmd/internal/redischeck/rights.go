package redischeck

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed rights.lua
var rightsScript string

// ErrRights reports that the user of redis.url lacks rights that Kabar needs.
var ErrRights = errors.New("rights are missing")

// A question asks whether the user may execute a command. A denial names what the user
// lacks.
type question struct {
	command  string // empty when the question is about a key or a channel alone
	words    []string
	keys     bool // the command takes keys
	channels bool // the command takes channels
}

// rights returns ErrRights, with the missing rights, unless the user may execute all of
// Kabar's commands on a master, in scripts too, with all of Kabar's keys and channels.
func (c *Checker) rights(ctx context.Context, m master) error {
	questions := c.questions()
	args := make([]any, len(questions))
	for i, q := range questions {
		text, err := json.Marshal(q.words)
		if err != nil {
			return fmt.Errorf("ask for rights: %w", err)
		}
		args[i] = string(text)
	}
	reply, err := m.client.Eval(ctx, rightsScript, nil, args...).Slice()
	if redis.HasErrorPrefix(err, "NOPERM") {
		return c.refused(m, err)
	}
	if err != nil {
		return fmt.Errorf("ask for rights: %w", err)
	}
	var lack lack
	for i := 0; i+1 < len(reply); i += 2 {
		n, _ := reply[i].(int64)
		reason, _ := reply[i+1].(string)
		if n < 1 || int(n) > len(questions) {
			return fmt.Errorf("ask for rights: unexpected reply %v", reply)
		}
		lack.add(questions[n-1], reason)
	}
	return lack.err(c, m)
}

// questions returns one question for each command, with one key and channel, and then one
// for the keys and channels of each partition.
func (c *Checker) questions() []question {
	parts := c.Partitions
	key, channel := parts.Key(0, probeName), parts.Key(0, probeName)
	var all []question
	for _, command := range c.commands() {
		all = append(all, question{
			command: command.name, words: command.with(key, channel),
			keys: slices.Contains(command.words, "KEY"), channels: slices.Contains(command.words, "CHANNEL"),
		})
	}
	publish := singleCommands[0]
	if c.cluster() {
		publish = clusterCommands[0]
	}
	for p := range parts.Len() {
		key := parts.Key(p, probeName)
		all = append(all,
			question{words: []string{"eval", "", "1", key}, keys: true},
			question{words: parseCommand(publish).with("", key), channels: true})
	}
	for _, key := range parts.ClaimKeys() {
		all = append(all, question{words: []string{"eval", "", "1", key}, keys: true})
	}
	return all
}

// A lack is the set of missing rights.
type lack struct {
	commands, unknown []string
	keys, channels    bool
}

// add records the answer to a question. The order of the questions matters: for a command
// that scripts may not call, add uses the earlier answers.
func (l *lack) add(q question, reason string) {
	noScript := strings.Contains(reason, "not allowed from script") // Redis checked nothing else
	switch {
	case reason == "unknown command":
		l.unknown = append(l.unknown, q.command)
	case strings.Contains(reason, "channel"), noScript && q.channels && l.channels:
		l.channels = true
	case strings.Contains(reason, "key"), noScript && q.evaluates(), noScript && q.keys && l.keys:
		l.keys = true
	case q.command != "":
		l.commands = append(l.commands, q.command)
	}
}

// evaluates reports whether a question is about EVAL. The user has that right, because the
// questions are asked through EVAL.
func (q question) evaluates() bool { return q.words[0] == "eval" }

func (l *lack) err(c *Checker, m master) error {
	var may, add []string
	if len(l.commands) > 0 {
		may = append(may, "run "+upper(l.commands))
		for _, name := range l.commands {
			add = append(add, "+"+name)
		}
	}
	if l.keys {
		may = append(may, fmt.Sprintf("read and write keys %s:*", c.Config.Prefix))
		add = append(add, fmt.Sprintf("~%s:*", c.Config.Prefix))
	}
	if l.channels {
		may = append(may, fmt.Sprintf("%s on channels %s:*", c.channelCommands(), c.Config.Prefix))
		add = append(add, fmt.Sprintf("&%s:*", c.Config.Prefix))
	}
	var errs []error
	if len(l.unknown) > 0 {
		errs = append(errs, fmt.Errorf("%w: Redis at %s does not know %s", ErrVersion, m.name, upper(l.unknown)))
	}
	if len(may) > 0 {
		errs = append(errs, fmt.Errorf("%w: Redis user %s at %s may not: %s; add %s (ACL SETUSER %s %s)",
			ErrRights, c.user(), m.name, strings.Join(may, ", nor "), strings.Join(add, " "), c.user(), strings.Join(add, " ")))
	}
	return errors.Join(errs...)
}

func (c *Checker) channelCommands() string {
	if c.cluster() {
		return "SPUBLISH and SSUBSCRIBE"
	}
	return "PUBLISH and SUBSCRIBE"
}

// refused explains a command that Redis refused before the rights were checked.
func (c *Checker) refused(m master, err error) error {
	return fmt.Errorf("%w: Redis user %s at %s: %w; docs/deployment.md has the rights that Kabar needs", ErrRights, c.user(), m.name, err)
}

func (c *Checker) user() string {
	if c.address.Username == "" {
		return "default"
	}
	return c.address.Username
}

func upper(names []string) string { return strings.ToUpper(strings.Join(names, ", ")) }
