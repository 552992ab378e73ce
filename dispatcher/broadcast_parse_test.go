package dispatcher

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
)

// The first content wins; ids are each service's own.
func TestBroadcastIsIdempotent(t *testing.T) {
	w := newWorld(t)
	start := func(source, raw string) Published {
		b, err := w.ParseBroadcast([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return w.StartBroadcast(context.Background(), source, b)
	}
	const raw = `{"id":"x","message":"m","audience":{"user_ids":[1,2]}}`
	if p := start("service:a", raw); p.Err != nil || p.Duplicate || p.ID != "x" {
		t.Errorf("%+v", p)
	}
	if p := start("service:a", `{"audience": {"user_ids": [1, 2]}, "message":"m", "id":"x"}`); p.Err != nil || !p.Duplicate {
		t.Errorf("%+v", p)
	}
	if p := start("service:a", `{"id":"x","message":"m"}`); !errors.Is(p.Err, inbox.ErrConflict) {
		t.Errorf("%+v", p)
	}
	if p := start("service:b", `{"id":"x","message":"m"}`); p.Err != nil || p.Duplicate {
		t.Errorf("%+v", p)
	}
	all, err := w.Broadcasts(context.Background(), 10)
	if err != nil || len(all) != 2 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestParseBroadcast(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := newParser(&Options{
		Types: []Type{{Name: "flash", Lane: push.Bulk, Message: "Flash sale!"}, {Name: "payout", Lane: push.Urgent}},
		Texts: text.Default(), Locale: text.Indonesian, Now: func() time.Time { return now },
	})
	long := "[" + strings.Repeat("1,", MaxNamed) + "1]"
	for raw, fields := range map[string][]string{
		`{"message":"m"}`:  nil,
		`{"type":"flash"}`: nil,
		`{"message":"m","rate":"10000","at":"2026-11-23T09:00:00Z","expires":"2026-12-21T09:00:00Z"}`: nil,
		`{"message":"m","audience":{"platform":null,"user_ids":null}}`:                                nil,
		`{"message":"m","unknown":1}`:          nil,
		`[]`:                                   {"broadcast"},
		`{"message":`:                          {"broadcast"},
		`{}`:                                   {"message"},
		`{"message":"m","type":"payout"}`:      {"type"},
		`{"message":"m","type":"cart"}`:        {"type"},
		`{"message":"m","id":"a b","title":7}`: {"id", "title"},
		`{"message":"m","details":{"a":"` + strings.Repeat("x", MaxEventSize) + `"}}`: {"details"},
		`{"message":"m","rate":10001}`:                                     {"rate"},
		`{"message":"m","rate":1.5}`:                                       {"rate"},
		`{"message":"m","at":"2027-11-22T09:00:00Z"}`:                      {"at"},
		`{"message":"m","at":"soon","ttl":"500h","rate":{}}`:               {"at", "rate"},
		`{"message":"m","ttl":"700h"}`:                                     {"ttl"},
		`{"message":"m","expires":"2026-11-22T08:59:59Z"}`:                 {"expires"},
		`{"message":"m","expires":"2026-12-21T09:00:00Z"}`:                 {"expires"},
		`{"message":"m","ttl":60,"expires":"2026-11-22T10:00:00Z"}`:        {"expires"},
		`{"message":"m","audience":[]}`:                                    {"audience"},
		`{"message":"m","audience":{"platfrom":"ios","locale":"jv"}}`:      {"audience.platfrom", "audience.locale"},
		`{"message":"m","audience":{"platform":"web"}}`:                    {"audience.platform"},
		`{"message":"m","audience":{"app_version":{"min":"2","max":"1"}}}`: {"audience.app_version"},
		`{"message":"m","audience":{"app_version":{"min":"v2"}}}`:          {"audience.app_version.min"},
		`{"message":"m","audience":{"app_version":{"from":"2"}}}`:          {"audience.app_version"},
		`{"message":"m","audience":{"app_version":"2"}}`:                   {"audience.app_version"},
		`{"message":"m","audience":{"user_ids":[]}}`:                       {"audience.user_ids"},
		`{"message":"m","audience":{"user_ids":7}}`:                        {"audience.user_ids"},
		`{"message":"m","audience":{"user_ids":[1,"066",0]}}`:              {"audience.user_ids[1]"},
		`{"message":"m","audience":{"user_ids":` + long + `}}`:             {"audience.user_ids"},
		`{"message":"` + strings.Repeat("m", MaxBroadcastSize) + `"}`:      {"broadcast"},
	} {
		_, err := p.ParseBroadcast([]byte(raw))
		var bad *InvalidError
		var got []string
		if errors.As(err, &bad) {
			got = slices.Sorted(maps.Keys(bad.Fields))
		}
		slices.Sort(fields)
		if !slices.Equal(got, fields) {
			t.Errorf("%.80s: wrong are %v, want %v (%v)", raw, got, fields, err)
		}
	}
	b, err := p.ParseBroadcast([]byte(`{"message":"m","at":"2026-11-01T09:00:00Z"}`))
	if err != nil || b.Type != "broadcast" || !b.at.Equal(now) || !b.expires.Equal(now.Add(day)) || b.rate != DefaultRate || b.ID == "" {
		t.Errorf("%+v %v", b, err)
	}
}

func TestBroadcastTimeLeft(t *testing.T) {
	for _, c := range []struct {
		s    BroadcastStatus
		want time.Duration
	}{
		{BroadcastStatus{State: BroadcastRunning, Total: 1000, Walked: 400, Sent: 100, Pace: 10}, 15 * time.Second},
		{BroadcastStatus{State: BroadcastRunning, Total: 1000, Walked: 400, Sent: 100}, -1},
		{BroadcastStatus{State: BroadcastRunning, Total: 1000, Pace: 10}, -1},
		{BroadcastStatus{State: BroadcastPaused, Total: 1000, Walked: 400, Sent: 100, Pace: 10}, -1},
		{BroadcastStatus{State: BroadcastCancelled, Total: 1000, Walked: 400}, 0},
	} {
		if got := c.s.left(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}
