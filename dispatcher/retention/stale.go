package retention

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Devices lists and forgets devices. [devices.Registry] implements it and documents the
// methods.
type Devices interface {
	Registrations
	ListEach(ctx context.Context, users []int64) (map[int64][]devices.Device, error)
	Change(ctx context.Context, user int64, before, after devices.Device) (devices.Device, bool, error)
	Forget(ctx context.Context, user int64, d devices.Device) (bool, error)
}

// Reports tells services of stale devices. [report.Reports] implements it and documents the
// method.
type Reports interface {
	Stale(ctx context.Context, b *rdb.Batcher, user int64, device string, route push.Route) (withdraw func(context.Context), err error)
}

// forgetStale forgets the devices of users that were not seen for Options.StaleAfter. now is
// Redis' time in milliseconds.
func (j *Janitor) forgetStale(ctx context.Context, users []int64, now int64) error {
	if j.staleAfter == 0 {
		return nil
	}
	listed, err := j.devices.ListEach(ctx, users)
	errs := []error{err}
	for user, ds := range listed {
		for _, d := range ds {
			if d.LastSeen().Add(j.staleAfter).Before(time.UnixMilli(now)) {
				errs = append(errs, j.forget(ctx, user, d))
			}
		}
	}
	return errors.Join(errs...)
}

// forget forgets a device, unless it has changed since it was listed: it was seen again. The
// report is queued before: the other way round, a crash in between would lose it.
func (j *Janitor) forget(ctx context.Context, user int64, d devices.Device) error {
	if _, unchanged, err := j.devices.Change(ctx, user, d, d); err != nil || !unchanged {
		return err
	}
	route := push.Route{App: cmp.Or(d.App, push.DefaultApp), Platform: string(d.Platform), Environment: cmp.Or(d.Environment, d.Learned)}
	withdraw, err := j.reports.Stale(ctx, j.inbox.Options().Batcher, user, d.ID, route)
	if err != nil {
		return err
	}
	gone, err := j.devices.Forget(ctx, user, d)
	if err != nil && !errors.Is(err, rdb.ErrReplicas) || !gone {
		withdraw(ctx)
		return err
	}
	j.swept.WithLabelValues("device").Inc()
	return nil
}
