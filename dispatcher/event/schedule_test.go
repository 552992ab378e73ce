package event

import (
	"errors"
	"testing"
	"time"
)

func TestScheduledAt(t *testing.T) {
	t.Parallel()
	p := testParser()
	for at, want := range map[string]time.Time{
		`null`:                        {},
		`"2026-01-02T03:04:05Z"`:      {}, // now
		`"2025-01-02T03:04:05Z"`:      {},
		`"2026-01-02T10:04:06+07:00"`: p.now().Add(time.Second),
		`"2026-02-01T03:04:05Z"`:      p.now().Add(30 * day),
	} {
		raw := `{"type":"discount","receiver_id":66,"message":"m","options":{"at":` + at + `}}`
		e, err := p.Parse([]byte(raw))
		if err != nil || !e.At.Equal(want) || (string(e.Raw) == raw) == want.IsZero() {
			t.Errorf("%s: at %v, %q, %v", at, e.At, e.Raw, err)
		}
	}
	for _, at := range []string{`"2026-02-01T03:04:06Z"`, `"tomorrow"`, `17`, `{}`} {
		_, err := p.Parse([]byte(`{"type":"discount","receiver_id":66,"message":"m","options":{"at":` + at + `}}`))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Fields["options.at"] == "" || len(invalid.Fields) != 1 {
			t.Errorf("%s: %v", at, err)
		}
	}
	// The event's own time may lie a day after its publication.
	e, err := p.Parse([]byte(`{"type":"discount","receiver_id":66,"message":"m","time":"2026-01-11T03:00:00Z","options":{"at":"2026-01-10T03:04:05Z"}}`))
	if err != nil || e.At.IsZero() {
		t.Error(err)
	}
}
