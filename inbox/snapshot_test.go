package inbox

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// A snapshot says what the reads of its parts say.
func TestSnapshot(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s, ctx := newStore(t, rdb), t.Context()
		if now, err := s.Live.Snapshot(ctx, user); err != nil || now != (Snapshot{}) {
			t.Errorf("of an unknown user: %+v, %v", now, err)
		}
		for _, id := range []string{"a", "b"} {
			p := note(id, "discount")
			if _, errs := s.Notifications.Store(ctx, []NewNotification{p}, map[string][]int64{p.Event: {user}}); errs[0] != nil {
				t.Fatal(errs[0])
			}
		}
		locale := "en"
		if err := s.Profiles.Set(ctx, user, Profile{Locale: &locale}); err != nil {
			t.Fatal(err)
		}
		if err := s.Live.Revoke(ctx, user); err != nil {
			t.Fatal(err)
		}
		revoked, err := rdb.Get(ctx, s.Live.Keys(user).Revoked).Int64()
		if err != nil {
			t.Fatal(err)
		}
		_, newest, _, err := s.Live.Replay(ctx, user, 0)
		if err != nil {
			t.Fatal(err)
		}
		unreads, err := s.Counters.Unreads(ctx, user)
		if err != nil || unreads.Notifications != 2 {
			t.Fatal(unreads, err)
		}
		want := Snapshot{Unreads: unreads, Seq: newest, Locale: "en", Revoked: revoked}
		if now, err := s.Live.Snapshot(ctx, user); err != nil || now != want {
			t.Errorf("%+v, %v, want %+v", now, err, want)
		}
	})
}
