package push

import "testing"

func TestParseLane(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Lane{"urgent": Urgent, "chat": Chat, "bulk": Bulk} {
		if got, err := ParseLane(name); err != nil || got != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
		if got := want.String(); got != name {
			t.Errorf("%q is called %q", name, got)
		}
	}
	for _, name := range []string{"", "Urgent", "bulk ", "money"} {
		if got, err := ParseLane(name); err == nil {
			t.Errorf("%q is lane %v", name, got)
		}
	}
}
