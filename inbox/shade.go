package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed shade.lua
var shadeSource string
var shadeScript = script(strings.ReplaceAll(shadeSource, "SHADE", quote(shadeKey))).ReadOnly()

//go:embed shade_change.lua
var shadeChangeSource string

// shades keeps, for each user whom anything was pushed to, what is on the screens of the
// user's devices, so that what is read on one of them is taken down on the others. Scripts
// that mark something as read ask for the user's dismissal: an entry of the outbox that is
// due a second later, once for all that is read until then.
type shades struct{ *base }

// Source returns the Lua that Shown and Told have keys and arguments for: the body of a
// function with the parameters keys and args, both tables of strings. It does not fail if the
// second key is a sorted set or missing.
func (s *shades) Source() string { return shadeChangeSource }

// On reports whether devices are told what was read.
func (s *shades) On() bool { return s.options.Dismissals != nil }

// Look reads the shades of users in the order of users, in one round trip for each shard.
func (s *shades) Look(ctx context.Context, b *rdb.Batcher, users []int64) []model.Shade {
	commands := make([]*rdb.Command, len(users))
	for i, user := range users {
		k := s.keys(user)
		commands[i] = shadeScript.Command(ctx, []string{k.shade(), k.unread()})
	}
	if len(commands) > 0 {
		_ = b.Do(ctx, commands...) // each command holds its own error
	}
	shades := make([]model.Shade, len(users))
	for i, c := range commands {
		shades[i] = readShade(c)
	}
	return shades
}

func readShade(c *rdb.Command) (s model.Shade) {
	reply, err := c.Slice()
	if err == nil && len(reply)%3 != 1 {
		err = rdb.ErrReply
	}
	if err != nil {
		return model.Shade{Err: fmt.Errorf("read what devices show: %w", err)}
	}
	micros, _ := reply[0].(int64)
	s.At, s.Screens = time.UnixMicro(micros), make(map[string]model.Screen)
	for f := reply[1:]; len(f) > 0; f = f[3:] {
		name, _ := f[0].(string)
		value, _ := f[1].(string)
		device, tag, shown := strings.Cut(name, " ")
		switch screen, ok := parseScreen(value); {
		case shown:
			id, told := strings.CutPrefix(value, "-")
			s.Shown = append(s.Shown, model.Shown{Device: device, Tag: tag, ID: id, Read: told || f[2] == int64(0), Told: told})
		case ok:
			s.Screens[device] = screen
		}
	}
	return s
}

var screenPattern = regexp.MustCompile(`^(\d+|\?) \d+ \d+ [dv] (\d+) (\d+)$`)

func parseScreen(value string) (s model.Screen, ok bool) {
	m := screenPattern.FindStringSubmatch(value)
	if m == nil {
		return s, false
	}
	s.Badge = -1
	if n, err := strconv.Atoi(m[1]); err == nil {
		s.Badge = n
	}
	for i, text := range m[2:] {
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 {
			s.Backgrounds[i] = time.UnixMilli(ms)
		}
	}
	return s, true
}

// Shown returns the keys and arguments with which [shades.Source] notes that devices show a
// notification. badges has the badge that came with it by device: -1 for none, or
// [model.UnknownBadge]. Tag may name a conversation. looked is the time of the facts that the
// badge is of.
func (s *shades) Shown(user int64, tag, id string, looked time.Time, badges map[string]int) (keys []string, args []any) {
	k := s.keys(user)
	unread, message := k.unread(), "0"
	if conversation, ok := model.SubjectConversation(tag); ok {
		unread, message = k.receivedUnread(conversation), "1"
	}
	delayed, entry := s.options.Dismissals(user)
	args = []any{entry, looked.UnixMicro(), "shown", tag, id, message}
	for device, badge := range badges {
		args = append(args, device, badgeArg(badge))
	}
	return []string{k.shade(), delayed, unread}, args
}

// Told returns the keys and arguments with which [shades.Source] notes that a device was told
// what was read. looked is the time of the facts.
func (s *shades) Told(user int64, looked time.Time, t *model.Telling) (keys []string, args []any) {
	k := s.keys(user)
	delayed, entry := s.options.Dismissals(user)
	owed := ""
	if t.Owed != nil {
		owed = boolArg(*t.Owed)
	}
	args = []any{entry, looked.UnixMicro(), "told", t.Device, badgeArg(t.Badge), boolArg(t.Background), boolArg(t.More), owed}
	for _, read := range t.Read {
		args = append(args, read.Tag, read.ID)
	}
	return []string{k.shade(), delayed}, args
}

func badgeArg(badge int) string {
	switch {
	case badge == model.UnknownBadge:
		return "?"
	case badge < 0:
		return ""
	}
	return strconv.Itoa(badge)
}

// withShade returns the keys of a script that may mark something as read, and the entry of
// the user's dismissal: with the shade and the delayed set, unless dismissals are off.
func (b *base) withShade(k userKeys, keys ...string) (all []string, dismissal string) {
	if b.options.Dismissals == nil {
		return keys, ""
	}
	delayed, dismissal := b.options.Dismissals(k.user())
	return append(keys, k.shade(), delayed), dismissal
}

// user returns the user whose keys they are.
func (k userKeys) user() int64 {
	name := strings.TrimSuffix(string(k), ":")
	user, _ := strconv.ParseInt(name[strings.LastIndexByte(name, 'u')+1:], 10, 64)
	return user
}
