package devices

import (
	"strings"
	"testing"
)

const fidA, fidB = "dQw4w9WgXcQ_-0123456ab", "cAbCdEfGhIjKlMnOpQrStU"

func installation(fid string) Device {
	d := phone(fid)
	d.FID = true
	return d
}

// The Lua twin is tested through registrations, below.
func TestStem(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{
		"":                        "",
		"A":                       "A",
		fidA:                      fidA,
		fidA + ":APA91b-x_y":      fidA,
		fidA + ":":                fidA,
		fidA + "x":                fidA + "x",
		fidA + ".x":               fidA + ".x",
		fidA + "x:APA91b":         fidA + "x:APA91b",
		"b" + fidA[1:] + ":APA91": "b" + fidA[1:] + ":APA91",
		"short:APA91b":            "short:APA91b",
		"APA91b-of-older-phones":  "APA91b-of-older-phones",
	} {
		if got := stem(token); got != want {
			t.Errorf("%q: %q, want %q", token, got, want)
		}
	}
}

func TestInstallationIDs(t *testing.T) {
	t.Parallel()
	for _, d := range []Device{
		{Platform: Android, FID: true, Token: "a:b"},
		{Platform: Android, FID: true, Token: "a.b"},
		{Platform: Android, FID: true},
		{Platform: Android, FID: true, Token: strings.Repeat("c", maxFIDLen+1)},
		{Platform: IOS, FID: true, Token: "a"},
	} {
		wantInvalid(t, d.validate(), "token")
	}
	check(t, Device{Platform: Android, FID: true, Token: fidA}.validate())
}

// A phone that says its registration token, then its installation id, or the reverse, has one
// entry and one owner record, and keeps its id and preferences.
func TestPhoneMovesToAnInstallationID(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		ctx := t.Context()
		names := []Device{phone(fidA + ":APA91b"), installation(fidA), phone(fidA + ":APA91c"), installation(fidA)}
		first := register(t, r, ani, names[0])
		_, err := r.Prefer(ctx, ani, Android, first.Token, func(p *Preferences) { p.Private = true })
		check(t, err)
		last := first
		for _, name := range names[1:] {
			got := register(t, r, ani, name)
			if got.ID != first.ID || got.Generation <= last.Generation {
				t.Errorf("%s became %+v, it was %+v", name.Token, got, last)
			}
			want := got
			want.Preferences.Private = true
			wantList(t, r, ani, want)
			for _, d := range []Device{name, names[0]} {
				if o := owner(t, r, d); !o.Owns(ani, got) || o.Owns(ani, last) {
					t.Errorf("%s has the owner %+v", d.Token, o)
				}
			}
			last = got
		}

		// The next owner takes the phone, whatever it is called.
		budis := register(t, r, budi, names[0])
		wantList(t, r, ani)
		wantList(t, r, budi, budis)
		got, err := r.Replace(ctx, budi, names[0].Token, names[1])
		check(t, err)
		if got.ID != budis.ID || !got.FID || !owner(t, r, names[0]).Owns(budi, got) {
			t.Errorf("replaced %+v by %+v", budis, got)
		}
		wantList(t, r, budi, got)
		check(t, r.Remove(ctx, budi, Android, names[2].Token))
		wantList(t, r, budi)
		if o := owner(t, r, got); o != (Owner{}) {
			t.Errorf("a removed phone has the owner %+v", o)
		}
	})
}

// A registration token of an older kind says nothing of the installation: the app names both.
func TestReplaceByAnInstallationID(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		old := register(t, r, ani, phone("APA91b-old"))
		got, err := r.Replace(t.Context(), ani, old.Token, Device{Platform: Android, Token: fidB, FID: true})
		check(t, err)
		if got.ID != old.ID || !got.FID {
			t.Errorf("replaced %+v by %+v", old, got)
		}
		wantList(t, r, ani, got)
		if o := owner(t, r, old); o != (Owner{}) {
			t.Errorf("the old token has the owner %+v", o)
		}
	})
}

// A token of Firebase has one owner, whatever the platform of its device.
func TestDevicesOfFirebaseOnIOS(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		ctx := t.Context()
		token := fidA + ":APA91b"
		iphone := Device{Platform: IOS, Provider: FCM, Token: token, OperatingSystem: "iOS 18"}
		anis := register(t, r, ani, iphone)
		wantList(t, r, ani, anis)
		if anis.Platform != IOS || anis.Provider != FCM || !owner(t, r, phone(token)).Owns(ani, anis) {
			t.Errorf("registered %+v", anis)
		}
		anis, err := r.Replace(ctx, ani, token, Device{Platform: IOS, Provider: FCM, Token: "new:APA91b"})
		check(t, err)
		wantList(t, r, ani, anis)
		if anis.Platform != IOS || anis.Provider != FCM || anis.OperatingSystem != "iOS 18" {
			t.Errorf("replaced by %+v", anis)
		}
		budis := register(t, r, budi, phone("new:APA91b"))
		wantList(t, r, ani)
		wantList(t, r, budi, budis)
		budis = register(t, r, budi, Device{Platform: IOS, Provider: FCM, Token: "new:APA91b"})
		wantList(t, r, budi, budis)
		check(t, r.Remove(ctx, budi, Android, "new:APA91b"))
		wantList(t, r, budi)
	})
}

func TestInvalidProviders(t *testing.T) {
	t.Parallel()
	wantInvalid(t, Device{Platform: IOS, Provider: "apns2", Token: "a"}.validate(), "provider")
	wantInvalid(t, Device{Platform: Android, Provider: FCM, Token: "a"}.validate(), "provider")
	wantInvalid(t, Device{Platform: IOS, Token: "a:b"}.validate(), "token")
	wantInvalid(t, Device{Platform: IOS, Provider: FCM, Token: "a/b"}.validate(), "token")
	wantInvalid(t, Device{Platform: IOS, Provider: FCM, Token: "a", Environment: "sandbox"}.validate(), "environment")
	check(t, Device{Platform: IOS, Provider: FCM, Token: "a:b"}.validate())
}
