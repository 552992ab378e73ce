package devices

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplace(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		ctx := t.Context()
		old := register(t, r, ani, phone("OLD"))
		register(t, r, budi, phone("NEW"))

		for _, tc := range []struct {
			user int64
			old  string
			want error
		}{{ani, "UNKNOWN", ErrNotRegistered}, {budi, "OLD", ErrNotOwner}} {
			if _, err := r.Replace(ctx, tc.user, tc.old, Device{Platform: Android, Token: "OTHER"}); !errors.Is(err, tc.want) {
				t.Errorf("replacing %s as %d: %v, want %v", tc.old, tc.user, err, tc.want)
			}
		}

		got, err := r.Replace(ctx, ani, "OLD", Device{Platform: Android, Token: "NEW"}) // NEW belonged to Budi
		check(t, err)
		want := phone("NEW")
		want.ID, want.Generation = old.ID, got.Generation
		wantList(t, r, ani, want)
		wantList(t, r, budi)
		if o := owner(t, r, old); o != (Owner{}) {
			t.Errorf("the old token has the owner %+v", o)
		}
		if o := owner(t, r, got); !o.Owns(ani, got) {
			t.Errorf("the new token has the owner %+v", o)
		}

		same, err := r.Replace(ctx, ani, "NEW", Device{Platform: Android, Token: "NEW"})
		check(t, err)
		if same.ID != old.ID || same.Generation <= got.Generation {
			t.Errorf("refreshed %+v to %+v", got, same)
		}
		wantList(t, r, ani, same)
	})
}

func TestReplaceWithATokenOfOnesOwn(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		a := register(t, r, ani, phone("A"))
		register(t, r, ani, phone("B"))
		got, err := r.Replace(t.Context(), ani, "A", Device{Platform: Android, Token: "B"})
		check(t, err)
		if got.ID != a.ID {
			t.Errorf("id %s, want %s", got.ID, a.ID)
		}
		wantList(t, r, ani, got)
	})
}

func TestReplaceLeavesANewerRegistrationOfTheOldToken(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		seen := register(t, r, ani, phone("OLD"))
		newer := register(t, r, ani, phone("OLD")) // after Replace has read the listing
		d := seen
		d.Token = "NEW"
		got, err := r.place(t.Context(), placement{user: ani, device: d, keepID: true, replaces: seen})
		check(t, err)
		if got.ID == newer.ID {
			t.Error("two devices have one id")
		}
		wantList(t, r, ani, newer, got)
		for _, d := range []Device{newer, got} {
			if !owner(t, r, d).Owns(ani, d) {
				t.Errorf("%s is not owned", d.Token)
			}
		}
	})
}

func TestReplaceThatStoppedHalfWay(t *testing.T) {
	for name, repeat := range map[string]func(context.Context, *Registry) (Device, error){
		"is repeated": func(ctx context.Context, r *Registry) (Device, error) {
			return r.Replace(ctx, ani, "OLD", Device{Platform: Android, Token: "NEW"})
		},
		"is followed by a registration": func(ctx context.Context, r *Registry) (Device, error) {
			return r.Register(ctx, ani, phone("NEW"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryRedis(t, func(t *testing.T, s store) {
				r := s.registry(Options{})
				old := register(t, r, ani, phone("OLD"))
				d := old
				d.Token = "NEW"
				_, _, err := r.claim(t.Context(), placement{user: ani, device: d, keepID: true, replaces: old})
				check(t, err)
				if o := owner(t, r, old); !o.Owns(ani, old) {
					t.Error("the old token is lost before the new one is listed")
				}
				got, err := repeat(t.Context(), r)
				check(t, err)
				list, err := r.List(t.Context(), ani)
				check(t, err)
				if last := list[len(list)-1]; !cmp.Equal(last, got, ignoreSource) || !owner(t, r, got).Owns(ani, last) {
					t.Errorf("listed %+v, want %+v", last, got)
				}
			})
		})
	}
}
