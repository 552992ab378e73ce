package push

import (
	"io"
	"log/slog"
	"strings"
	"testing"
)

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

// Log lines name lanes in both formats.
func TestLaneInLogs(t *testing.T) {
	t.Parallel()
	for format, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		var out strings.Builder
		slog.New(handler(&out)).Info("a line", "lane", Bulk)
		if line := out.String(); !strings.Contains(line, "lane=bulk") && !strings.Contains(line, `"lane":"bulk"`) {
			t.Errorf("%s: %s", format, line)
		}
	}
}
