package devices

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

func TestOwnersInOneRoundTrip(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		a := register(t, r, ani, phone("A"))
		b := register(t, r, budi, phone("B"))
		owner(t, r, a) // opens the connection that pipelines use
		trips := &counter{}
		s.client.AddHook(trips)
		got, err := r.Owners(t.Context(), []Device{b, phone("nobodys"), a})
		check(t, err)
		if diff := cmp.Diff([]Owner{{budi, b.Generation}, {}, {ani, a.Generation}}, got); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
		if trips.n != 1 {
			t.Errorf("%d round trips", trips.n)
		}
		if none, err := r.Owners(t.Context(), nil); none != nil || err != nil || trips.n != 1 {
			t.Errorf("of no devices: %v, %v", none, err)
		}
	})
}

// counter counts round trips.
type counter struct{ n int }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n++; return next(ctx, cmd) }
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n++; return next(ctx, cmds) }
}

func TestMalformedOwnerIsAnError(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		check(t, s.client.Set(t.Context(), r.keys.owner(Android, "A"), "what?", 0).Err())
		if o, err := r.Owners(t.Context(), []Device{phone("A")}); err == nil {
			t.Errorf("owner %+v", o)
		}
		if _, err := r.Register(t.Context(), ani, phone("A"), nil); err == nil {
			t.Error("registered over it")
		}
	})
}

func TestListInASharedPipeline(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		a := register(t, r, ani, phone("A"))
		pipe := s.client.Pipeline()
		anis, budis := r.QueueList(t.Context(), pipe, ani), r.QueueList(t.Context(), pipe, budi)
		_, err := pipe.Exec(t.Context())
		check(t, err)
		for want, list := range map[int]func() ([]Device, error){1: anis, 0: budis} {
			if got, err := list(); err != nil || len(got) != want || (want == 1 && got[0] != a) {
				t.Errorf("got %+v, %v", got, err)
			}
		}
	})
}

func BenchmarkOwners(b *testing.B) {
	addr, err := single()
	if err != nil {
		b.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	r := New(Options{Redis: client, Prefix: b.Name(), Tag: tag, Listing: listing, Tombstone: tombstone})
	ds := make([]Device, 100)
	for i := range ds {
		if ds[i], err = r.Register(b.Context(), int64(i+1), phone(fmt.Sprint("T", i)), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Owners(b.Context(), ds); err != nil {
			b.Fatal(err)
		}
	}
}
