package devices

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/devices/internal/redistest"
)

func TestOwnersInOneRoundTrip(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		a := register(t, r, ani, phone("A"))
		b := register(t, r, budi, phone("B"))
		owner(t, r, a) // opens the connection that pipelines use
		trips := s.CountTrips(t)
		got, err := r.Owners(t.Context(), []Device{b, phone("nobodys"), a})
		check(t, err)
		if diff := cmp.Diff([]Owner{{budi, b.Generation}, {}, {ani, a.Generation}}, got); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
		if trips.N != 1 {
			t.Errorf("%d round trips", trips.N)
		}
		if none, err := r.Owners(t.Context(), nil); none != nil || err != nil || trips.N != 1 {
			t.Errorf("of no devices: %v, %v", none, err)
		}
	})
}

func TestMalformedOwnerIsAnError(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		check(t, s.Client.Set(t.Context(), r.keys.owner(Android, "A"), "what?", 0).Err())
		if o, err := r.Owners(t.Context(), []Device{phone("A")}); err == nil {
			t.Errorf("owner %+v", o)
		}
		if _, err := r.Register(t.Context(), ani, phone("A"), nil); err == nil {
			t.Error("registered over it")
		}
	})
}

func BenchmarkOwners(b *testing.B) {
	r := store{redistest.Single(b)}.registry(Options{})
	ds := make([]Device, 100)
	for i := range ds {
		var err error
		ds[i], err = r.Register(b.Context(), int64(i+1), phone(fmt.Sprint("T", i)), nil)
		check(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Owners(b.Context(), ds); err != nil {
			b.Fatal(err)
		}
	}
}
