package retention

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// reports records the devices that are reported.
type reports struct {
	stale []string // "USER DEVICE ROUTE"
	fail  error
}

func (r *reports) Stale(_ context.Context, _ *rdb.Batcher, user int64, device string, route push.Route) (func(context.Context), error) {
	if r.fail != nil {
		return nil, r.fail
	}
	r.stale = append(r.stale, device+" "+route.String())
	return func(context.Context) { r.stale = r.stale[:len(r.stale)-1] }, nil
}

// A device that was not seen for long is forgotten and reported. One that was named by a
// request, or has accepted a push, stays.
func TestStaleDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	var told reports
	w := newWorld(t, "a", 0, func(o *Options) { o.StaleAfter, o.Reports = 30*day, &told })
	ctx := t.Context()
	register := func(user int64, platform devices.Platform, token string) devices.Device {
		d, err := w.devices.Register(ctx, user, devices.Device{Platform: platform, Token: token}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	gone := register(66, devices.Android, "gone")
	register(66, devices.IOS, "seen")
	register(7, devices.Android, "accepted")
	sweep := func(ahead time.Duration) {
		t.Helper()
		if err := w.forgetStale(ctx, []int64{7, 15, 66}, time.Now().Add(ahead).UnixMilli()); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (tokens []string) {
		for _, user := range []int64{66, 7} {
			ds, err := w.devices.List(ctx, user)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range ds {
				tokens = append(tokens, d.Token)
			}
		}
		slices.Sort(tokens)
		return tokens
	}
	sweep(29 * day)
	if got := left(); len(got) != 3 {
		t.Fatalf("left after 29 days: %v", got)
	}
	// As if ten days later one were named by a request, and one accepted a push.
	for user, change := range map[int64]func(*devices.Device){
		66: func(d *devices.Device) { d.SeenDay = devices.Day(time.Now()) + 10 },
		7:  func(d *devices.Device) { d.AcceptedDay = devices.Day(time.Now()) + 10 },
	} {
		ds, err := w.devices.List(ctx, user)
		if err != nil {
			t.Fatal(err)
		}
		after := ds[len(ds)-1]
		change(&after)
		if _, changed, err := w.devices.Change(ctx, user, ds[len(ds)-1], after); !changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	told.fail = errors.New("no report can be queued")
	if err := w.forgetStale(ctx, []int64{66}, time.Now().Add(32*day).UnixMilli()); !errors.Is(err, told.fail) || len(left()) != 3 {
		t.Errorf("without a report: %v, left %v", err, left())
	}
	told.fail = nil
	sweep(32 * day)
	if got := left(); !slices.Equal(got, []string{"accepted", "seen"}) {
		t.Errorf("left after 32 days: %v", got)
	}
	if want := gone.ID + " default.android"; !slices.Equal(told.stale, []string{want}) {
		t.Errorf("reported %v, want %q", told.stale, want)
	}
	if n := testutil.ToFloat64(w.swept.WithLabelValues("device")); n != 1 {
		t.Errorf("counted %v", n)
	}
	if _, err := w.devices.Find(ctx, 66, devices.Android, "gone"); !errors.Is(err, devices.ErrNotRegistered) {
		t.Errorf("the device that is gone: %v", err)
	}
}

// Without StaleAfter no device is stale.
func TestDevicesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", 0)
	if _, err := w.devices.Register(t.Context(), 66, devices.Device{Platform: devices.Android, Token: "A"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.forgetStale(t.Context(), []int64{66}, time.Now().Add(10_000*day).UnixMilli()); err != nil {
		t.Fatal(err)
	}
	if ds, err := w.devices.List(t.Context(), 66); len(ds) != 1 || err != nil {
		t.Errorf("left %v, %v", ds, err)
	}
}
