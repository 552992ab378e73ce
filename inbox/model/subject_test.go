package model

import (
	"strings"
	"testing"
)

func TestSubject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for name, c := range map[string]struct{ id, want string }{
		"an id":                 {"52001", "transaction:52001"},
		"no id":                 {"", ""},
		"an id with a line end": {"a\nb\n", "transaction:a b "},
		"an id with a colon":    {"a:b", "transaction:a:b"},
		"the longest id":        {long, "transaction:" + long},
		"a longer id":           {long + "a", "transaction:635361c48bb9eab14198e76ea8ab7f1a"},
		"another longer id":     {long + "b", "transaction:3e63da2d835edc34e3bca8eef3a45442"},
		"64 characters, 65 B":   {long[:63] + "é", "transaction:d61e99f505cec3b57227f241630b4226"},
	} {
		if got := Subject("transaction", c.id); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestConversationSubject(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for name, c := range map[string]struct{ id, want string }{
		"the id of a conversation": {ConversationID(15, 66), "message:" + ConversationID(15, 66)},
		"no id":                    {"", ""},
		"the longest id":           {long, "message:" + long},
		"an id that is too long":   {long + "a", ""},
	} {
		got := ConversationSubject(c.id)
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if id, ok := SubjectConversation(got); ok && id != c.id || ok != (got != "") {
			t.Errorf("%s: the conversation of %q is %q, %t", name, got, id, ok)
		}
	}
	if id, ok := SubjectConversation(Subject("transaction", "52001")); ok {
		t.Errorf("a transaction is the conversation %q", id)
	}
}

func TestParseUser(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{"1": 1, "66": 66, "9223372036854775807": 1<<63 - 1} {
		if got, err := ParseUser(s); err != nil || got != want {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-1", "+1", "066", "-0", " 1", "1 ", "1.0", "1e3", "0x1", "1_000", "a", "9223372036854775808", "٣"} {
		if got, err := ParseUser(s); err == nil || got != 0 {
			t.Errorf("%q is user %d, %v", s, got, err)
		}
	}
}
