package devices

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func TestSwitches(t *testing.T) {
	t.Parallel()
	var p Preferences
	for _, step := range []struct {
		name string
		on   bool
		off  string
	}{
		{"promo", true, ""},
		{"promo", false, "promo"},
		{"nego", false, "nego,promo"},
		{"nego", false, "nego,promo"},
		{"report", false, "nego,promo,report"},
		{"promo", true, "nego,report"},
		{"nego", true, "report"},
		{"report", true, ""},
	} {
		if p.Switch(step.name, step.on); p.Off != step.off {
			t.Errorf("%s to %t: off is %q, want %q", step.name, step.on, p.Off, step.off)
		}
		if p.IsOff(step.name) == step.on || p.IsOff("") || p.IsOff("re") {
			t.Errorf("%q says the wrong thing of %s, or of a part of a name", p.Off, step.name)
		}
	}
}

// choosy differs from the preferences of a new device in every field.
var choosy = Preferences{Off: "nego,promo", Private: true}

func prefer(t *testing.T, r *Registry, user int64, token string, p Preferences) {
	t.Helper()
	got, err := r.Prefer(t.Context(), user, Android, token, func(was *Preferences) { *was = p })
	check(t, err)
	if got != p {
		t.Errorf("preferences %+v, want %+v", got, p)
	}
}

func wantPreferences(t *testing.T, r *Registry, user int64, token string, want Preferences) {
	t.Helper()
	got, err := r.Preferences(t.Context(), user, Android, token)
	check(t, err)
	if got != want {
		t.Errorf("%s prefers %+v, want %+v", token, got, want)
	}
}

// Preferences stay with a user's device when its token changes. They do not pass to another
// user.
func TestPreferences(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		register(t, r, ani, phone("A"))
		wantPreferences(t, r, ani, "A", Preferences{})
		prefer(t, r, ani, "A", choosy)
		wantPreferences(t, r, ani, "A", choosy)

		again := phone("A")
		again.Model = "another"
		again.Preferences = Preferences{Off: "message"} // an app cannot set preferences by registering
		d := register(t, r, ani, again)
		listed, err := r.List(t.Context(), ani)
		check(t, err)
		if len(listed) != 1 || listed[0].Preferences != choosy || listed[0].Model != "another" || listed[0].Generation != d.Generation {
			t.Errorf("refreshed to %+v", listed)
		}

		for _, token := range []string{"B", "B"} { // the second one is a refresh
			old := listed[0].Token
			_, err = r.Replace(t.Context(), ani, old, Device{Platform: Android, Token: token})
			check(t, err)
			listed, err = r.List(t.Context(), ani)
			check(t, err)
			wantPreferences(t, r, ani, token, choosy)
		}

		register(t, r, ani, phone("C"))
		_, err = r.Replace(t.Context(), ani, "C", Device{Platform: Android, Token: "B"})
		check(t, err)
		wantPreferences(t, r, ani, "B", Preferences{}) // those of the device whose token was replaced
		prefer(t, r, ani, "B", choosy)

		register(t, r, budi, phone("B"))
		wantPreferences(t, r, budi, "B", Preferences{})
		register(t, r, ani, phone("B"))
		wantPreferences(t, r, ani, "B", Preferences{})
		prefer(t, r, ani, "B", choosy)
		check(t, r.Remove(t.Context(), ani, Android, "B"))
		register(t, r, ani, phone("B"))
		wantPreferences(t, r, ani, "B", Preferences{})
	})
}

func TestPreferencesOfNoDevice(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		register(t, r, ani, phone("A"))
		half := register(t, r, ani, phone("HALF"))
		check(t, r.Unlist(t.Context(), ani, half))
		var invalid *account.InvalidError
		for _, tc := range []struct {
			user  int64
			token string
			is    func(error) bool
		}{
			{budi, "A", func(err error) bool { return errors.Is(err, ErrNotOwner) }},
			{ani, "UNKNOWN", func(err error) bool { return errors.Is(err, ErrNotRegistered) }},
			{ani, "HALF", func(err error) bool { return errors.Is(err, ErrNotRegistered) }},
			{ani, "a/b", func(err error) bool { return errors.As(err, &invalid) && invalid.Field == "token" }},
			{0, "A", func(err error) bool { return errors.As(err, &invalid) && invalid.Field == "user_id" }},
		} {
			if _, err := r.Preferences(t.Context(), tc.user, Android, tc.token); !tc.is(err) {
				t.Errorf("reading %s of %d: %v", tc.token, tc.user, err)
			}
			touch := func(p *Preferences) { p.Private = true }
			if _, err := r.Prefer(t.Context(), tc.user, Android, tc.token, touch); !tc.is(err) {
				t.Errorf("setting %s of %d: %v", tc.token, tc.user, err)
			}
		}
		wantPreferences(t, r, ani, "A", Preferences{})
	})
}

// A registration or suspension between Prefer's read and its write is kept, and so are the
// preferences that were set before.
func TestPreferInBetween(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		d := register(t, r, ani, phone("A"))
		calls := 0
		_, err := r.Prefer(t.Context(), ani, Android, "A", func(p *Preferences) {
			if calls++; calls == 1 {
				check(t, r.Suspend(t.Context(), ani, d, `MIS"MATCH`))
			}
			p.Switch("promo", false)
		})
		check(t, err)
		listed, err := r.List(t.Context(), ani)
		check(t, err)
		if listed[0].Suspended != `MIS"MATCH` || listed[0].Preferences.Off != "promo" || listed[0].Generation != d.Generation {
			t.Errorf("listed %+v after %d calls", listed, calls)
		}
		_, err = r.Prefer(t.Context(), ani, Android, "A", func(*Preferences) {
			register(t, r, ani, phone("A"))
		})
		if !errors.Is(err, errBusy) {
			t.Errorf("with a registration before every try: %v", err)
		}
		wantPreferences(t, r, ani, "A", Preferences{Off: "promo"})
	})
}

// Concurrent changes are all stored, even when registrations come in between.
func TestPreferAtOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		register(t, r, ani, phone("A"))
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				_, err := r.Prefer(t.Context(), ani, Android, "A", func(p *Preferences) { p.Switch(fmt.Sprint("s", i), false) })
				if err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if _, err := r.Register(t.Context(), ani, phone("A"), nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantPreferences(t, r, ani, "A", Preferences{Off: "s0,s1,s2,s3"})
	})
}

// Preferences can be read while Redis takes no writes, so that nothing is noted.
func TestPreferencesOnAFullRedis(t *testing.T) {
	t.Parallel()
	server, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir()})
	check(t, err)
	t.Cleanup(func() { server.Close() })
	client := localredistest.Client(t, server.Addr())
	b := rdb.NewBatcher(client, 0)
	t.Cleanup(b.Close)
	r := New(Options{Redis: client, Batcher: b, Partitions: rdb.NewPartitions(t.Name(), 4)})
	register(t, r, ani, phone("A"))
	check(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	wantPreferences(t, r, ani, "A", Preferences{})
}

// A request that names a device says that it is in use.
func TestRequestsSeeADevice(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r, ctx := s.registry(Options{}), t.Context()
		for name, request := range map[string]func(token string) error{
			"find":        func(token string) error { _, err := r.Find(ctx, ani, Android, token); return err },
			"preferences": func(token string) error { _, err := r.Preferences(ctx, ani, Android, token); return err },
			"prefer": func(token string) error {
				_, err := r.Prefer(ctx, ani, Android, token, func(*Preferences) {})
				return err
			},
		} {
			newest := func() Device {
				listed, err := r.List(ctx, ani)
				check(t, err)
				return listed[len(listed)-1]
			}
			register(t, r, ani, phone(name))
			before := Day(time.Now())
			check(t, request(name))
			if d := newest(); d.SeenDay < before || d.SeenDay > Day(time.Now()) {
				t.Errorf("%s: seen on day %d, today is %d", name, d.SeenDay, before)
			}
			if d := newest(); !d.LastSeen().After(time.Now()) {
				t.Errorf("%s: last seen %v", name, d.LastSeen())
			}
		}
	})
}
