package devices

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices/internal/redistest"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// The budgets get one push back in this time; see admit.lua.
const (
	minuteInterval = 500 * time.Millisecond
	hourInterval   = 1500 * time.Millisecond
)

// admit asks for one push.
func (s store) admit(t testing.TB, r *Registry, user int64, d Device, spare int) (Owner, time.Duration) {
	t.Helper()
	c := r.AdmitCommand(t.Context(), user, d, spare)
	_ = s.Batcher.Do(t.Context(), c) // the command holds its error
	o, wait, err := ReadAdmission(c, time.Now())
	check(t, err)
	return o, wait
}

// budgets returns what is stored of a device's budgets, "" when they are full.
func (s store) budgets(t *testing.T, r *Registry, d Device) string {
	t.Helper()
	return s.Client.Get(t.Context(), r.keys.rate(d.Platform, d.Token)).Val()
}

func TestAdmissionNamesTheOwner(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		old := register(t, r, ani, phone("A"))
		d := register(t, r, ani, phone("A"))
		apple := register(t, r, ani, Device{Platform: IOS, Token: "A"})
		for _, tc := range []struct {
			name string
			user int64
			d    Device
			want Owner
		}{
			{"an older generation", ani, old, Owner{ani, d.Generation}},
			{"another user", budi, d, Owner{ani, d.Generation}},
			{"a user with the same first digit", 6, d, Owner{ani, d.Generation}},
			{"nobody's", ani, phone("B"), Owner{}},
			{"an iPhone", ani, apple, Owner{ani, apple.Generation}},
		} {
			if got, wait := s.admit(t, r, tc.user, tc.d, 0); got != tc.want || wait != 0 {
				t.Errorf("%s: owner %+v, wait %v", tc.name, got, wait)
			}
			if b := s.budgets(t, r, tc.d); b != "" {
				t.Errorf("%s: took from the budget: %s", tc.name, b)
			}
		}
		before := time.Now()
		if got, wait := s.admit(t, r, ani, d, 0); !got.Owns(ani, d) || wait != 0 {
			t.Errorf("owner %+v, wait %v", got, wait)
		}
		key := r.keys.rate(d.Platform, d.Token)
		ttl := s.Client.PTTL(t.Context(), key).Val()
		expired := ttl == -2 && time.Since(before) > 500*time.Millisecond // it stays for at least that
		if ttl > 2*time.Second || ttl <= 0 && !expired {
			t.Errorf("after one push the budget stays for %v", ttl)
		}
		check(t, s.Client.Set(t.Context(), r.OwnerKey(d), "what?", 0).Err())
		c := r.AdmitCommand(t.Context(), ani, d, 0)
		_ = s.Batcher.Do(t.Context(), c)
		if o, _, err := ReadAdmission(c, time.Now()); err == nil {
			t.Errorf("malformed record: owner %+v", o)
		}
	})
}

// Gateways that push to one device at once stay below its limits together, leave room for
// more urgent pushes, and spend nothing while there is nothing left.
func TestADevicesRate(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		d := register(t, r, ani, phone("A"))
		other := register(t, r, ani, phone("B"))
		key := r.keys.rate(d.Platform, d.Token)
		// put leaves that many pushes in the hour's budget: it comes back so slowly that the
		// test may take its time.
		put := func(left int) time.Time {
			t.Helper()
			now, err := s.Client.Time(t.Context()).Result()
			check(t, err)
			missing := time.Duration(2500-left) * hourInterval
			check(t, s.Client.Set(t.Context(), key, missing.Milliseconds(), missing).Err())
			return now
		}

		began := put(20)
		var mu sync.Mutex
		taken := 0
		var gateways sync.WaitGroup
		for range 40 {
			gateways.Go(func() {
				b := rdb.NewBatcher(s.Client, 0)
				defer b.Close()
				c := r.AdmitCommand(context.Background(), ani, d, 0)
				_ = b.Do(context.Background(), c)
				o, wait, err := ReadAdmission(c, time.Now())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil || !o.Owns(ani, d):
					t.Errorf("owner %+v, %v", o, err)
				case wait < 0 || wait > hourInterval:
					t.Errorf("wait %v", wait)
				case wait == 0:
					taken++
				}
			})
		}
		gateways.Wait()
		after, err := s.Client.Time(t.Context()).Result()
		check(t, err)
		if most := 20 + int(after.Sub(began)/hourInterval) + 1; taken < 20 || taken > most {
			t.Errorf("%d pushes were admitted, want 20 to %d", taken, most)
		}
		if _, wait := s.admit(t, r, ani, other, 0); wait != 0 {
			t.Errorf("another device waits %v", wait)
		}

		put(20)
		before := s.budgets(t, r, d)
		if _, wait := s.admit(t, r, ani, d, 100); wait == 0 || wait > 81*hourInterval {
			t.Errorf("wait %v although fewer than 100 are left", wait)
		}
		if s.budgets(t, r, d) != before {
			t.Error("a push that has to wait was taken from the budget")
		}
		if _, wait := s.admit(t, r, ani, d, 10); wait != 0 {
			t.Errorf("wait %v although more than 10 are left", wait)
		}

		put(-60 * 24) // as if Redis' clock had stepped back
		if _, wait := s.admit(t, r, ani, d, 0); wait == 0 || wait > hourInterval {
			t.Errorf("wait %v after the clock stepped back", wait)
		}
	})
}

// A device that gets pushes without a pause gets 110 at once, and then one each half second.
func TestADevicesBurst(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		d := register(t, r, ani, phone("A"))
		began, err := s.Client.Time(t.Context()).Result()
		check(t, err)
		admitted := 0
		for range 10_000 {
			_, wait := s.admit(t, r, ani, d, 0)
			if wait > minuteInterval {
				t.Errorf("wait %v", wait)
			}
			if wait > 0 {
				break
			}
			admitted++
		}
		after, err := s.Client.Time(t.Context()).Result()
		check(t, err)
		if most := 110 + int(after.Sub(began)/minuteInterval) + 1; admitted < 110 || admitted > most {
			t.Errorf("%d pushes were admitted, want 110 to %d", admitted, most)
		}
	})
}

// While Redis' memory is full, pushes are admitted and not counted.
func TestAdmissionWhileRedisIsFull(t *testing.T) {
	t.Parallel()
	server, err := localredis.Start(t.Context(), localredis.Options{Args: []string{"--appendonly", "no"}})
	check(t, err)
	t.Cleanup(func() { server.Close() })
	client := redis.NewClient(localredistest.Options(server.Addr()))
	t.Cleanup(func() { client.Close() })
	batcher := rdb.NewBatcher(client, 0)
	t.Cleanup(batcher.Close)
	s := store{redistest.Store{Client: client, Batcher: batcher, Partitions: rdb.NewPartitions("full", 2)}}
	r := s.registry(Options{})
	d := register(t, r, ani, phone("A"))
	check(t, client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	if o, wait := s.admit(t, r, ani, d, 0); !o.Owns(ani, d) || wait != 0 {
		t.Errorf("owner %+v, wait %v", o, wait)
	}
	if b := s.budgets(t, r, d); b != "" {
		t.Errorf("stored %s", b)
	}
}

// BenchmarkAdmission compares an owner check that counts with one that only reads, 64 in a
// pipeline, as delivery makes them. redis-µs is the time that Redis spends on one.
func BenchmarkAdmission(b *testing.B) {
	for _, p := range []Platform{IOS, Android} {
		b.Run(string(p), func(b *testing.B) {
			s := store{redistest.Single(b)}
			r := s.registry(Options{})
			ds := make([]Device, 64)
			for i := range ds {
				var err error
				ds[i], err = r.Register(b.Context(), int64(i+1), Device{Platform: p, Token: fmt.Sprint("T", i)}, nil)
				check(b, err)
			}
			before := redisCPU(b, s)
			n := 0
			for b.Loop() {
				commands := make([]*rdb.Command, len(ds))
				for i, d := range ds {
					commands[i] = r.AdmitCommand(b.Context(), int64(i+1), d, 0)
				}
				check(b, s.Batcher.Do(b.Context(), commands...))
				n += len(ds)
			}
			b.ReportMetric(float64((redisCPU(b, s)-before).Microseconds())/float64(n), "redis-µs/push")
		})
	}
}

// redisCPU returns the CPU time that Redis has used.
func redisCPU(b *testing.B, s store) time.Duration {
	b.Helper()
	info, err := s.Client.InfoMap(b.Context(), "cpu").Result()
	check(b, err)
	var sum time.Duration
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		d, err := time.ParseDuration(info["CPU"][name] + "s")
		check(b, err)
		sum += d
	}
	return sum
}

// A device that is put off gets no push until then, and nobody else is put off.
func TestPutOff(t *testing.T) {
	onEveryRedis(t, func(t *testing.T, s store) {
		r := s.registry(Options{})
		for _, p := range []Platform{Android, IOS} {
			d := register(t, r, ani, Device{Platform: p, Token: "A"})
			other := register(t, r, ani, Device{Platform: p, Token: "B"})
			now := time.Now()
			check(t, s.Batcher.Do(t.Context(), r.PutOffCommand(t.Context(), d, now, now.Add(time.Hour))))
			if o, wait := s.admit(t, r, ani, d, 0); !o.Owns(ani, d) || wait < 50*time.Minute || wait > time.Hour {
				t.Errorf("%s: owner %+v, waits for %v", p, o, wait)
			}
			if o, wait := s.admit(t, r, ani, other, 0); !o.Owns(ani, other) || wait != 0 {
				t.Errorf("%s: owner %+v, another device waits for %v", p, o, wait)
			}
		}
	})
}
