package devices

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	ani  int64 = 66
	budi int64 = 67
)

// ignoreSource compares devices without the listings that they were read from.
var ignoreSource = cmpopts.IgnoreUnexported(Device{})

// phone returns a device as an app registers it.
func phone(token string) Device {
	return Device{Platform: Android, Token: token, Model: "GG-P4124H", Manufacturer: "Nokia", ProductName: "Lumpia", AppVersion: "1.0"}
}

// register registers a device and fails the test if that is not possible.
func register(t *testing.T, r *Registry, user int64, d Device) Device {
	t.Helper()
	got, err := r.Register(t.Context(), user, d, nil)
	check(t, err)
	return got
}

// wantList checks a user's list. It does not check who owns the tokens in it.
func wantList(t *testing.T, r *Registry, user int64, want ...Device) {
	t.Helper()
	got, err := r.List(t.Context(), user)
	check(t, err)
	if diff := cmp.Diff(append([]Device{}, want...), got, ignoreSource); diff != "" {
		t.Errorf("list of %d (-want +got):\n%s", user, diff)
	}
}

// owner returns the owner of a device's token.
func owner(t *testing.T, r *Registry, d Device) Owner {
	t.Helper()
	got, err := r.Owners(t.Context(), []Device{d})
	check(t, err)
	return got[0]
}

func TestRegisterListsTheDevice(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		before := time.Now().Add(-time.Second)
		got := register(t, r, ani, phone("ASD223SDA"))

		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(got.ID) {
			t.Errorf("id %q", got.ID)
		}
		if at := got.RegisteredAt(); at.Before(before) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("registered at %v", at)
		}
		want := phone("ASD223SDA")
		want.ID, want.Generation = got.ID, got.Generation
		wantList(t, r, ani, want)
		if o := owner(t, r, got); !o.Owns(ani, got) || o.Owns(budi, got) {
			t.Errorf("owner is %+v", o)
		}
	})
}

func TestRegisterAgainRefreshes(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		first := register(t, r, ani, phone("A"))
		newer := phone("A")
		newer.AppVersion = "2.0"
		second := register(t, r, ani, newer)
		if second.ID != first.ID || second.Generation <= first.Generation {
			t.Errorf("refreshed %+v to %+v", first, second)
		}
		wantList(t, r, ani, second)
		if o := owner(t, r, first); o.Owns(ani, first) || !o.Owns(ani, second) {
			t.Errorf("owner is %+v", o)
		}
	})
}

func TestPlatformsShareNoTokens(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		a := register(t, r, ani, Device{Platform: Android, Token: "ASD223SDA"})
		i := register(t, r, ani, Device{Platform: IOS, Token: "ASD223SDA"})
		wantList(t, r, ani, a, i)
		check(t, r.Remove(t.Context(), ani, IOS, "ASD223SDA"))
		wantList(t, r, ani, a)
	})
}

func TestRegistrationMovesBetweenUsers(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		anis := register(t, r, ani, phone("A"))
		budis := register(t, r, budi, phone("A"))
		if budis.ID == anis.ID {
			t.Error("another user's device has the same id")
		}
		if o := owner(t, r, anis); o.Owns(ani, anis) || !o.Owns(budi, budis) {
			t.Errorf("owner is %+v", o)
		}
		wantList(t, r, ani)
		wantList(t, r, budi, budis)
	})
}

func TestTwoUsersRegisterATokenAtOnce(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		var wg sync.WaitGroup
		for i := range 50 {
			user := []int64{ani, budi}[i%2]
			wg.Go(func() {
				if _, err := r.Register(t.Context(), user, phone("A"), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		o := owner(t, r, phone("A"))
		passing := map[int64]int{}
		for _, user := range []int64{ani, budi} {
			list, err := r.List(t.Context(), user)
			check(t, err)
			for _, d := range list {
				if o.Owns(user, d) {
					passing[user]++
				}
			}
		}
		if want := (map[int64]int{o.User: 1}); !cmp.Equal(passing, want) {
			t.Errorf("listings that pass, by user: %v, want %v", passing, want)
		}
	})
}

func TestCrashBetweenTheStepsLeavesNobodysDevice(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		anis := register(t, r, ani, phone("A"))
		d := phone("A")
		d.ID = newID()
		_, _, err := r.claim(t.Context(), placement{user: budi, device: d})
		check(t, err)

		wantList(t, r, ani, anis)
		wantList(t, r, budi)
		if o := owner(t, r, anis); o.User != budi || o.Owns(ani, anis) {
			t.Errorf("owner is %+v", o)
		}
		announced := false
		budis, err := r.Register(t.Context(), budi, phone("A"), func(Device) (string, string, string) {
			announced = true
			return s.stream(67), "f", "v"
		})
		check(t, err)
		if n, err := s.Client.XLen(t.Context(), s.stream(67)).Result(); err != nil || n != 1 || !announced {
			t.Errorf("announced %d times, %v", n, err)
		}
		wantList(t, r, budi, budis)
	})
}

func TestAnOlderRegistrationDoesNotReplaceANewer(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		p := placement{user: ani, device: phone("A")}
		p.device.ID = newID()
		older, _, err := r.claim(t.Context(), p)
		check(t, err)
		newer := register(t, r, ani, phone("A"))
		state, _, err := r.enlist(t.Context(), p, older)
		check(t, err)
		if state != "older" {
			t.Errorf("state %q", state)
		}
		wantList(t, r, ani, newer)

		// Nor does a listing from before another user had the token.
		register(t, r, budi, phone("A"))
		again := register(t, r, ani, phone("A"))
		if again.ID == older.ID {
			t.Fatal("id came back")
		}
		_, _, err = r.enlist(t.Context(), p, older)
		check(t, err)
		wantList(t, r, ani, again)
	})
}

func TestGenerationNeverRunsBack(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		future := time.Now().Add(time.Hour).UnixMicro()
		key := r.keys.owner(Android, "A")
		check(t, s.Client.Set(t.Context(), key, fmt.Sprintf("%d %d 0123456789abcdef", ani, future), 0).Err())

		for i, user := range []int64{ani, budi} {
			if d := register(t, r, user, phone("A")); d.Generation != future+int64(i)+1 {
				t.Errorf("generation %d, want %d", d.Generation, future+int64(i)+1)
			}
		}
		check(t, r.Remove(t.Context(), budi, Android, "A"))
		if ttl := s.Client.TTL(t.Context(), key).Val(); ttl <= 0 || ttl > releasedTTL {
			t.Errorf("a released record stays for %v", ttl)
		}
		if d := register(t, r, ani, phone("A")); d.Generation != future+3 {
			t.Errorf("generation %d, want %d", d.Generation, future+3)
		}
		if ttl := s.Client.TTL(t.Context(), key).Val(); ttl >= 0 {
			t.Errorf("an owner record goes after %v", ttl)
		}
	})
}

func TestANewDeviceIsAnnounced(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		stream := s.stream(66)
		announce := func(d Device) (string, string, string) { return stream, "device", d.ID }
		first, err := r.Register(t.Context(), ani, phone("A"), announce)
		check(t, err)
		_, err = r.Register(t.Context(), ani, phone("A"), announce)
		check(t, err)
		second, err := r.Register(t.Context(), ani, phone("B"), announce)
		check(t, err)

		entries, err := s.Client.XRange(t.Context(), stream, "-", "+").Result()
		check(t, err)
		var got []any
		for _, e := range entries {
			got = append(got, e.Values["device"])
		}
		if diff := cmp.Diff([]any{first.ID, second.ID}, got); diff != "" {
			t.Errorf("announcements (-want +got):\n%s", diff)
		}

		// A device that cannot be announced is not listed, either.
		check(t, s.Client.Set(t.Context(), stream+"not", "", 0).Err())
		if _, err := r.Register(t.Context(), ani, phone("C"), func(Device) (string, string, string) { return stream + "not", "f", "v" }); err == nil {
			t.Error("queued to a string")
		}
		list, err := r.List(t.Context(), ani)
		check(t, err)
		if len(list) != 2 {
			t.Errorf("listed %+v", list)
		}
	})
}

func TestTheLeastRecentlyRegisteredGoes(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{MaxPerUser: 3})
		register(t, r, ani, phone("A"))
		b := register(t, r, ani, phone("B"))
		c := register(t, r, ani, phone("C"))
		a := register(t, r, ani, phone("A")) // now B is the least recently registered one
		d := register(t, r, ani, phone("D"))
		wantList(t, r, ani, c, a, d)
		if o := owner(t, r, b); o != (Owner{}) {
			t.Errorf("the dropped device has the owner %+v", o)
		}

		// A lower limit takes effect at the next registration.
		r = s.registry(Options{MaxPerUser: 1})
		d = register(t, r, ani, phone("D"))
		wantList(t, r, ani, d)
	})
}

func TestACallerWhoLeavesDoesNotStrandTheDevice(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		ctx, leave := context.WithCancel(t.Context())
		d, err := r.Register(ctx, ani, phone("A"), func(Device) (string, string, string) {
			leave() // between the two steps
			return s.stream(66), "f", "v"
		})
		check(t, err)
		wantList(t, r, ani, d)
	})
}

// Registering a device adds its user to the list of all users with data.
func TestRegisterListsTheUser(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		key, member := s.Partitions.Listing(ani)
		check(t, s.Client.ZRem(t.Context(), key, member).Err())
		register(t, r, ani, phone("A"))
		check(t, s.Client.ZScore(t.Context(), key, member).Err())
	})
}
