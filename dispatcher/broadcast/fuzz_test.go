package broadcast

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// FuzzBroadcast checks that nobody but who is meant can be told: everyone only where the
// audience says so.
func FuzzBroadcast(f *testing.F) {
	for _, seed := range []string{
		`{"message":"m","audience":"all"}`,
		`{"message":"m","audience":{"platform":"ios","app_version":{"min":"1.2","max":2},"locale":"id","user_ids":[1,"2"]}}`,
		`{"id":"x","type":"flash","title":null,"details":{"a":[1]},"audience":{"locale":"en"},"at":"2026-11-23T09:00:00Z","expires":"2026-11-24T09:00:00Z","rate":"7"}`,
		`{"message":"m","audience":{},"ttl":"2h"}`,
		`{"message":"m","audience":null}`,
		`{"message":"m","audience":{"user_ids":null,"platfrom":"ios"}}`,
		`{"message":"m","audiense":{}}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	p := testParser(func() time.Time { return now })
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := parse(p, raw, now)
		if err != nil {
			return
		}
		var audience jsontext.Value
		_ = jsonscan.EachMember(raw, func(m jsonscan.Member) { // it was parsed
			if string(m.Name()) == "audience" {
				audience = m.Value
			}
		})
		said, _ := jsonscan.Scalar(audience)
		if everyone := b.audience == (Audience{}) && b.named == nil; everyone != (said == "all") {
			t.Errorf("%s: audience %+v, %d named", audience, b.audience, len(b.named))
		}
		if !jsontext.Value(b.body).IsValid() || !b.expires.After(b.at) || b.rate < 1 || b.rate > MaxRate || b.ID == "" {
			t.Errorf("%+v", b)
		}
	})
}
