package devices

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// amend replaces a listing as the script that settles a push does.
func amend(t *testing.T, r *Registry, user int64, before, after Device) bool {
	t.Helper()
	keys, args := r.Amend(user, before, after)
	done, err := r.runBool(t.Context(), amendScript, keys, args...)
	check(t, err)
	return done
}

// only returns the user's one device.
func only(t *testing.T, r *Registry, user int64) Device {
	t.Helper()
	list, err := r.List(t.Context(), user)
	check(t, err)
	if len(list) != 1 {
		t.Fatalf("%d devices listed: %+v", len(list), list)
	}
	return list[0]
}

// told returns the device with all that deliveries write into its listing.
func told(d Device) Device {
	d.Suspended, d.TriedAt = `MIS"MATCH`, 1764353700123
	d.Suspect = &Suspect{Since: 1764353600123, Next: 1764353660123, Reason: `GO"NE`}
	d.AcceptedDay = 20420
	return d
}

// A listing is replaced only as it was read.
func TestAmend(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		register(t, r, ani, phone("A"))
		before := only(t, r, ani)
		after := told(before)
		for range 2 { // repeated, as after a lost reply
			if !amend(t, r, ani, before, after) {
				t.Fatal("not amended")
			}
		}
		wantList(t, r, ani, after)

		if amend(t, r, ani, before, before) {
			t.Error("amended a listing that has changed since")
		}
		second := only(t, r, ani)
		cleared := second
		cleared.Suspect, cleared.Suspended, cleared.TriedAt = nil, "", 0
		if !amend(t, r, ani, second, cleared) {
			t.Error("not cleared")
		}
		wantList(t, r, ani, cleared)

		third := only(t, r, ani)
		refreshed := register(t, r, ani, phone("A"))
		if amend(t, r, ani, third, told(third)) {
			t.Error("amended a registration that was made anew")
		}
		check(t, r.Remove(t.Context(), ani, Android, "A"))
		if amend(t, r, ani, refreshed, told(refreshed)) || amend(t, r, ani, third, told(third)) {
			t.Error("amended a device that is gone")
		}
		wantList(t, r, ani)
	})
}

// Registering a token anew ends everything that was held against it. The day of its last
// acceptance stays with the token, while it is the user's.
func TestRegisteringClearsTheDevice(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		note := func() {
			t.Helper()
			before := only(t, r, ani)
			prefer(t, r, ani, before.Token, choosy)
			before = only(t, r, ani)
			if !amend(t, r, ani, before, told(before)) {
				t.Fatal("not amended")
			}
		}
		want := func(user int64, day int, p Preferences) {
			t.Helper()
			got := only(t, r, user)
			want := phone(got.Token)
			want.ID, want.Generation, want.AcceptedDay, want.SeenDay, want.Preferences = got.ID, got.Generation, day, got.SeenDay, p
			wantList(t, r, user, want)
			if o := owner(t, r, got); !o.Owns(user, got) {
				t.Errorf("owner is %+v", o)
			}
		}
		register(t, r, ani, phone("A"))
		note()
		again := told(phone("A")) // an app cannot set any of it
		again.AcceptedDay = 1
		d := register(t, r, ani, again)
		want(ani, 20420, choosy)
		if diff := cmp.Diff(d, only(t, r, ani), cmpopts.IgnoreFields(Device{}, "AcceptedDay", "Preferences"), ignoreSource); diff != "" {
			t.Errorf("registered (-returned +listed):\n%s", diff)
		}
		note()
		_, err := r.Replace(t.Context(), ani, "A", Device{Platform: Android, Token: "A"})
		check(t, err)
		want(ani, 20420, choosy)
		note()
		_, err = r.Replace(t.Context(), ani, "A", Device{Platform: Android, Token: "B"})
		check(t, err)
		want(ani, 0, choosy)
		note()
		register(t, r, budi, phone("B"))
		want(budi, 0, Preferences{})
	})
}

// Listings of the former build are read and amended. Members that this build does not know
// stay.
func TestListingsOfOtherBuilds(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		put := func(listing string) {
			t.Helper()
			check(t, s.Client.HSet(t.Context(), r.ListKey(ani), "0123456789abcdef", listing).Err())
		}
		const former = `{"i":"0123456789abcdef","p":"android","t":"A","g":1764353600123456,"x":{"o":"promo"},"m":"GG","s":"MISMATCH"}`
		put(former)
		want := Device{
			ID: "0123456789abcdef", Platform: Android, Token: "A", Generation: 1764353600123456,
			Suspended: "MISMATCH", Preferences: Preferences{Off: "promo"}, Model: "GG",
		}
		wantList(t, r, ani, want)
		d := only(t, r, ani)
		changed := d
		changed.AcceptedDay = 20420
		if !amend(t, r, ani, d, changed) {
			t.Fatal("not amended")
		}
		want.AcceptedDay = 20420
		wantList(t, r, ani, want)

		put(strings.Replace(former, `"m":"GG"`, `"zz":{"a":[1e3,"<"]},"q":{"a":1,"n":2,"r":"GONE"},"m":"GG"`, 1))
		d = only(t, r, ani)
		changed = d
		changed.Suspect = nil
		if !amend(t, r, ani, d, changed) {
			t.Fatal("not amended")
		}
		got := s.Client.HGet(t.Context(), r.ListKey(ani), d.ID).Val()
		if want := `{"i":"0123456789abcdef","p":"android","t":"A","g":1764353600123456,"s":"MISMATCH","x":{"o":"promo"},"m":"GG","zz":{"a":[1e3,"\u003c"]}}`; got != want {
			t.Errorf("listed\n%s, want\n%s", got, want)
		}
		refreshed := register(t, r, ani, phone("A")) // its owner record is missing, so it gets another id
		want = refreshed
		want.Preferences.Off = "promo"
		wantList(t, r, ani, want)
	})
}
