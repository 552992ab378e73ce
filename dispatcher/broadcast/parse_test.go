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

// deep returns an object whose members are nested n levels deep.
func deep(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

func TestParse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := testParser(func() time.Time { return now })
	long := "[" + strings.Repeat("1,", MaxNamed) + "1]"
	for raw, fields := range map[string][]string{
		`{"audience":"all","message":"m"}`:  nil,
		`{"audience":"all","type":"flash"}`: nil,
		`{"audience":"all","message":"m","rate":"10000","at":"2026-11-23T09:00:00Z","expires":"2026-12-21T09:00:00Z"}`: nil,
		`{"message":"m"}`:                                                         {"audience"},
		`{"message":"m","audiense":{}}`:                                           {"audience", "audiense"},
		`{"message":"m","audience":null}`:                                         {"audience"},
		`{"message":"m","audience":{}}`:                                           {"audience"},
		`{"message":"m","audience":"everyone"}`:                                   {"audience"},
		`{"message":"m","audience":true}`:                                         {"audience"},
		`{"message":"m","audience":["all"]}`:                                      {"audience"},
		`{"message":"m","audience":{"all":true}}`:                                 {"audience.all"},
		`{"message":"m","audience":{"platform":null}}`:                            {"audience.platform"},
		`{"message":"m","audience":{"platform":"ios","user_ids":null}}`:           {"audience.user_ids"},
		`{"message":"m","audience":{"platform":"ios","locale":null}}`:             {"audience.locale"},
		`{"message":"m","audience":{"locale":"id","app_version":null}}`:           {"audience.app_version"},
		`{"message":"m","audience":{"app_version":{}}}`:                           {"audience.app_version"},
		`{"message":"m","audience":{"app_version":{"min":null}}}`:                 {"audience.app_version.min"},
		`{"message":"m","audience":"all","rates":1,"Ttl":"1h"}`:                   {"rates", "Ttl"},
		`{"message":"m","audience":"all","receiver_id":1,"options":{"ttl":"1h"}}`: {"receiver_id", "options.ttl"},
		`{"message":"m","audience":"all","details":{"n":1e999}}`:                  {"broadcast"},
		`{"message":"m","audience":"all","details":` + deep(64) + `}`:             {"broadcast"},
		`{"message":"m","audience":"all","details":` + deep(63) + `}`:             nil,
		`{"message":"m","audience":"all","details":{"n":9007199254740993}}`:       nil,
		`[]`:          {"broadcast"},
		`{"message":`: {"broadcast"},
		`{}`:          {"audience", "message"},
		`{"audience":"all","message":"m","type":"payout"}`:                                                   {"type"},
		`{"audience":"all","message":"m","type":"cart"}`:                                                     {"type"},
		`{"audience":"all","message":"m","id":"a b","title":7}`:                                              {"id", "title"},
		`{"audience":"all","message":"m","details":{"a":"` + strings.Repeat("x", event.MaxEventSize) + `"}}`: {"details"},
		`{"audience":"all","message":"m","rate":10001}`:                                                      {"rate"},
		`{"audience":"all","message":"m","rate":1.5}`:                                                        {"rate"},
		`{"audience":"all","message":"m","at":"2027-11-22T09:00:00Z"}`:                                       {"at"},
		`{"audience":"all","message":"m","at":"soon","ttl":"500h","rate":{}}`:                                {"at", "rate"},
		`{"audience":"all","message":"m","ttl":"700h"}`:                                                      {"ttl"},
		`{"audience":"all","message":"m","expires":"2026-11-22T08:59:59Z"}`:                                  {"expires"},
		`{"audience":"all","message":"m","expires":"2026-12-21T09:00:00Z"}`:                                  {"expires"},
		`{"audience":"all","message":"m","ttl":60,"expires":"2026-11-22T10:00:00Z"}`:                         {"expires"},
		`{"audience":"all","message":"m","image":"http://x","options":{"apns":{"category":7,"x":1}}}`:        {"image", "options.apns.category", "options.apns.x"},
		`{"audience":"all","message":"m","options":7}`:                                                       {"options"},
		`{"message":"m","audience":[]}`:                                                                      {"audience"},
		`{"message":"m","audience":{"platfrom":"ios","locale":"jv"}}`:                                        {"audience.platfrom", "audience.locale"},
		`{"message":"m","audience":{"platform":"windows"}}`:                                                  {"audience.platform"},
		`{"message":"m","audience":{"app_version":{"min":"2","max":"1"}}}`:                                   {"audience.app_version"},
		`{"message":"m","audience":{"app_version":{"min":"v2"}}}`:                                            {"audience.app_version.min"},
		`{"message":"m","audience":{"app_version":{"from":"2"}}}`:                                            {"audience.app_version.from"},
		`{"message":"m","audience":{"app_version":"2"}}`:                                                     {"audience.app_version"},
		`{"message":"m","audience":{"user_ids":[]}}`:                                                         {"audience.user_ids"},
		`{"message":"m","audience":{"user_ids":7}}`:                                                          {"audience.user_ids"},
		`{"message":"m","audience":{"user_ids":[1,"066",0]}}`:                                                {"audience.user_ids[1]"},
		`{"message":"m","audience":{"user_ids":` + long + `}}`:                                               {"audience.user_ids"},
		`{"audience":"all","message":"` + strings.Repeat("m", MaxSize) + `"}`:                                {"broadcast"},
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
	b, err := parse(p, []byte(`{"message":"m","audience":"all","at":"2026-11-01T09:00:00Z"}`), now)
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
