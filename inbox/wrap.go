package inbox

import (
	"context"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A WrappedStore is a script that stores a notification as Notifications.Store does, and
// runs a Lua fragment around that in the same call: so both happen or neither. It is
// immutable.
type WrappedStore struct {
	n      *Notifications
	script *rdb.Script
}

// Wrap returns the script that runs a Lua fragment around the storing of a notification. The
// fragment returns the script's reply. It may use what common.lua defines, and
//
//   - store_notification(), which stores the notification and returns the reply of
//     store_notification.lua, {status, id, seq, live_error}. The fragment calls it once, or
//     not at all.
//   - live_body, a variable: if it is set before the call, live sockets get its value
//     in place of the notification's body.
//   - KEYS and ARGV: those of store_notification.lua, then the additional ones of
//     Command, which the fragment counts from the end.
func (n *Notifications) Wrap(fragment string) *WrappedStore {
	return &WrappedStore{n, n.newStoreScript(fragment)}
}

// Command returns the command that runs the script for a notification, for Batcher.Do. The
// additional keys must lie in the receiver's partition. Records.Find does not find events
// that are stored this way.
func (w *WrappedStore) Command(ctx context.Context, p *NewNotification, keys []string, args ...any) *rdb.Command {
	storeKeys, storeArgs := w.n.storeArgs(p, model.NewIDSuffix())
	return w.script.Command(ctx, append(storeKeys, keys...), append(storeArgs, args...)...)
}
