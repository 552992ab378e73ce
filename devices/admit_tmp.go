package devices

import (
	"context"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

func (r *Registry) AdmitCommand(ctx context.Context, user int64, d Device) *rdb.Command {
	return rdb.NewCommand(ctx, "get", r.OwnerKey(d))
}

func ReadAdmission(c *rdb.Command) (Owner, time.Duration, error) {
	o, err := ReadOwner(c)
	return o, 0, err
}
