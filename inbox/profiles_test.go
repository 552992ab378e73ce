package inbox

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/model"
)

func TestProfile(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		ctx := context.Background()
		if _, err := s.Profiles.Get(ctx, user); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown user: %v", err)
		}
		name, locale, admin := "Me Ow", "en", true
		for _, p := range []Profile{{Name: &name, Admin: &admin}, {Locale: &locale}} {
			if err := s.Profiles.Set(ctx, user, p); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Profiles.Get(ctx, user)
		if diff := cmp.Diff(Profile{Name: &name, Admin: &admin, Locale: &locale}, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

func TestSettings(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		for _, locale := range []string{"", "en", "id"} {
			if locale != "" {
				if err := s.Profiles.Set(t.Context(), user, Profile{Locale: &locale}); err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.Profiles.Settings(t.Context(), user)
			if err != nil || got != (Settings{Locale: locale}) {
				t.Errorf("settings %+v, want %q, %v", got, locale, err)
			}
		}
	})
}

func TestQuietSettings(t *testing.T) {
	localredistest.OnEvery(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := newStore(t, rdb)
		jakarta, _ := model.Zone("WIB")
		want := func(q model.QuietHours, zone string) {
			t.Helper()
			got, err := s.Profiles.Settings(t.Context(), 66)
			if err != nil {
				t.Fatal(err)
			}
			if _, name := got.Zone(jakarta); got.Quiet != q || name != zone {
				t.Errorf("quiet %q in %s, want %q in %s", got.Quiet, name, q, zone)
			}
		}
		set := func(q *model.QuietHours, zone string) {
			t.Helper()
			z := &zone
			if zone == "-" {
				z = nil
			}
			if err := s.Profiles.SetQuietHours(t.Context(), 66, q, z); err != nil {
				t.Fatal(err)
			}
		}
		night := model.QuietHours{From: 22 * 60, To: 7 * 60}
		want(model.QuietHours{}, "Asia/Jakarta")
		set(nil, "-")
		if n := rdb.Exists(t.Context(), s.keys(66).profile()).Val(); n != 0 {
			t.Error("a profile is stored although nothing was set")
		}
		set(&night, "-")
		want(night, "Asia/Jakarta")
		profile := "Asia/Makassar"
		if err := s.Profiles.Set(t.Context(), 66, Profile{Timezone: &profile}); err != nil {
			t.Fatal(err)
		}
		want(night, "Asia/Makassar")
		set(nil, "WIT")
		want(night, "WIT")
		set(&model.QuietHours{}, "")
		want(model.QuietHours{}, "Asia/Makassar")
		users, err := s.Users.After(t.Context(), s.parts.OfUser(66), 0, 10)
		if err != nil || len(users) != 1 {
			t.Errorf("users %v, %v", users, err)
		}
	})
}
