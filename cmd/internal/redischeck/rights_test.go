package redischeck

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// signIn creates a user with ACL rules and returns the URL to sign in with.
func signIn(t *testing.T, addr, rules string) string {
	t.Helper()
	args := []any{"acl", "setuser", "kabar", "reset", "on", ">p"}
	for _, rule := range strings.Fields(rules) {
		args = append(args, rule)
	}
	check(t, connect(t, addr).Do(t.Context(), args...).Err())
	return "redis://kabar:p@" + addr
}

// At start a user who lacks a right gets an error that names the right and how to grant it.
func TestRightsThatAreMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		rules string // PREFIX stands for the test's prefix
		wants []string
		not   string
	}{
		"channels": {"~* +@all", []string{"may not: PUBLISH and SUBSCRIBE on channels PREFIX:*; add &PREFIX:*"}, "run"},
		"commands": {"~* &* +@all -zadd -xinfo -subscribe",
			[]string{"run XINFO|CONSUMERS, ZADD, SUBSCRIBE", "ACL SETUSER kabar +xinfo|consumers +zadd +subscribe"}, "keys"},
		"keys":            {"~other:* &* +@all", []string{"read and write keys PREFIX:*", "~PREFIX:*"}, "run"},
		"writing keys":    {"%R~* &* +@all", []string{"read and write keys PREFIX:*"}, "run"},
		"one partition":   {"~PREFIX:{p?}:* ~PREFIX:* resetkeys ~PREFIX:{p1}:* &* +@all", []string{"read and write keys PREFIX:*"}, "channels"},
		"several":         {"&* +@all -append", []string{"run APPEND", "read and write keys PREFIX:*"}, "channels"},
		"scripts":         {"~* &* +@all -eval", []string{"NOPERM", "eval"}, ""},
		"INFO":            {"~* &* +@all -info", []string{"run INFO", "+info"}, "keys"},
		"its connections": {"~* &* +@all -client", []string{"NOPERM", "client|setname", "docs/deployment.md"}, ""},
		"everything":      {"", []string{"NOPERM"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := strings.ReplaceAll(t.Name(), "/", ".")
			fill := strings.NewReplacer("PREFIX", prefix)
			server := start(t)
			c, _ := checker(t, signIn(t, server.Addr(), fill.Replace(tc.rules)))
			err := c.Start(t.Context())
			if !errors.Is(err, ErrRights) {
				t.Fatalf("error %v, want ErrRights", err)
			}
			for _, want := range tc.wants {
				if !strings.Contains(err.Error(), fill.Replace(want)) {
					t.Errorf("%q does not say %q", err, fill.Replace(want))
				}
			}
			if tc.not != "" && strings.Contains(err.Error(), tc.not+" ") {
				t.Errorf("%q complains of %s", err, tc.not)
			}
			if n, err := connect(t, server.Addr()).DBSize(t.Context()).Result(); err != nil || n > 0 {
				t.Errorf("%d keys were written, %v", n, err)
			}
		})
	}
}

// A user with the documented rights passes the start, and Redis denies no command of it.
func TestRightsThatAreDocumentedSuffice(t *testing.T) {
	t.Parallel()
	server := start(t, "--maxmemory-policy", "noeviction")
	c, _ := checker(t, signIn(t, server.Addr(), ACLRules(strings.ReplaceAll(t.Name(), "/", "."))))
	check(t, c.Start(t.Context()))
	m := NewMonitor(c)
	m.Look(t.Context())
	if s := m.Shards(); len(s) != 1 || s[0].Err != nil {
		t.Errorf("shards %+v", s)
	}
	denied, err := connect(t, server.Addr()).ACLLog(t.Context(), 10).Result()
	if check(t, err); len(denied) > 0 {
		t.Errorf("denied: %+v", *denied[0])
	}
}

// An embedded Redis has no ACL: its rights are not checked.
func TestRightsOfAnEmbeddedRedis(t *testing.T) {
	t.Parallel()
	c, _ := checker(t, "redis://"+embedded(t))
	if err := c.Rights(t.Context()); err != nil && !errors.Is(err, redis.Nil) {
		t.Error(err)
	}
}
