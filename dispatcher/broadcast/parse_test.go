package broadcast

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/event"
)

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := testParser(func() time.Time { return now })
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
		`{"message":"m","details":{"a":"` + strings.Repeat("x", event.MaxEventSize) + `"}}`: {"details"},
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
		`{"message":"` + strings.Repeat("m", MaxSize) + `"}`:               {"broadcast"},
	} {
		_, err := parse(p, []byte(raw), now)
		var bad *event.InvalidError
		var got []string
		if errors.As(err, &bad) {
			got = slices.Sorted(maps.Keys(bad.Fields))
		}
		slices.Sort(fields)
		if !slices.Equal(got, fields) {
			t.Errorf("%.80s: wrong are %v, want %v (%v)", raw, got, fields, err)
		}
	}
	b, err := parse(p, []byte(`{"message":"m","at":"2026-11-01T09:00:00Z"}`), now)
	if err != nil || b.Type != "broadcast" || !b.at.Equal(now) || !b.expires.Equal(now.Add(day)) || b.rate != DefaultRate || b.ID == "" {
		t.Errorf("%+v %v", b, err)
	}
}

// Parse produces the body that the inbox stores and the audience that delivery reads.
func TestParsedBroadcast(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	b, err := parse(testParser(func() time.Time { return now }), []byte(`{"id":"x","type":"flash","title":"Hemat",
		"details":{"url":"https://example.com"},"ttl":"2h","rate":7,
		"audience":{"platform":"ios","locale":"en","app_version":{"min":"1.2","max":"2"},"user_ids":[9,"3",9]}}`), now)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{b.ID, b.Type, string(b.body), string(b.audience.stored()), b.expires.Sub(b.at).String()}
	want := []string{
		"x", "flash",
		`{"type":"flash","title":"Hemat","message":"Flash sale!","details":{"url":"https://example.com","image_url":null,"unread_items":null}}`,
		`{"platform":"ios","min":"1.2","max":"2","locale":"en"}`, "2h0m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(b.named, []int64{3, 9}) || b.rate != 7 {
		t.Errorf("named %v, rate %d", b.named, b.rate)
	}
}
