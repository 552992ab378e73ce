package rdb

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// eachReplies replies to each command with the number of commands in the call, its key and
// its argument. The argument "bad" fails after the commands before it.
const eachReplies = `
local replies = {}
for n, key in ipairs(KEYS) do
  if ARGV[n] == 'bad' then redis.call('HLEN', key) end
  redis.call('APPEND', key, ARGV[n])
  replies[n] = #KEYS .. ' ' .. key .. ' ' .. ARGV[n]
end
return replies`

// Commands of a joint script are executed in calls for one hash tag, up to eight together
// and up to a size. Each gets its own reply.
func TestJoint(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		b := NewBatcher(client, 0)
		defer b.Close()
		s := NewScript("-- " + t.Name() + eachReplies).Joint()
		long := strings.Repeat("x", maxJointBytes/2)
		var commands []*Command
		var want []string
		add := func(calls int, tag, arg string) {
			key := fmt.Sprintf("%s{%s}%d", t.Name(), tag, len(want))
			commands = append(commands, s.Command(t.Context(), []string{key}, arg))
			want = append(want, fmt.Sprint(calls, " ", key, " ", arg))
		}
		for i := range 10 { // two calls for each tag
			calls := maxJoint
			if i >= maxJoint {
				calls = 10 - maxJoint
			}
			add(calls, "a", fmt.Sprint(i))
			add(calls, "b", fmt.Sprint(i))
		}
		add(2, "c", long)
		add(2, "c", "y")
		add(1, "c", long)
		plain := NewCommand(t.Context(), "set", t.Name(), "v")
		commands = append(commands, plain)
		if err := b.Do(t.Context(), commands...); err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if got := fmt.Sprint(commands[i].Val()); got != w {
				t.Errorf("command %d: %.80s, want %.80s", i, got, w)
			}
		}
		if plain.Val() != "OK" {
			t.Errorf("the plain command: %v", plain.Val())
		}
	})
}

// When a call fails, its commands are executed one by one, so that the bad one fails alone.
func TestJointFailsAlone(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, client redis.UniversalClient) {
		b := NewBatcher(client, 0)
		defer b.Close()
		s := NewScript("-- " + t.Name() + eachReplies).Joint()
		var commands []*Command
		for i, arg := range []string{"x", "bad", "y"} {
			key := fmt.Sprintf("%s{a}%d", t.Name(), i)
			client.Set(t.Context(), key, "", 0)
			commands = append(commands, s.Command(t.Context(), []string{key}, arg))
		}
		if err := b.Do(t.Context(), commands...); err == nil || err != commands[1].Err() || !strings.Contains(err.Error(), "WRONGTYPE") {
			t.Errorf("error %v", err)
		}
		for _, i := range []int{0, 2} {
			if got, want := fmt.Sprint(commands[i].Val()), fmt.Sprintf("1 %s{a}%d", t.Name(), i); commands[i].Err() != nil || !strings.HasPrefix(got, want) {
				t.Errorf("command %d: %q, %v", i, got, commands[i].Err())
			}
		}
	})
}

func TestHashTag(t *testing.T) {
	for key, want := range map[string]string{"a:{p1}:b": "p1", "a": "a", "a{}b": "a{}b", "a{b": "a{b", "{a}{b}": "a"} {
		if got := hashTag(key); got != want {
			t.Errorf("%s: %s", key, got)
		}
	}
}
