package inbox

import (
	"context"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// A WrappedStore is a script that stores a notification as Notifications.Store does, and
// runs a Lua fragment around that in the same call: so both happen or neither. It is
// immutable.
type WrappedStore struct{ script *rdb.Script }

// WrapStore returns the script that runs a Lua fragment around the storing of a
// notification. The fragment returns the script's reply. It may use what common.lua
// defines, and
//
//   - store_notification(), which runs store_notification.lua and returns its reply,
//     {status, id, seq}. The fragment calls it once, or not at all.
//   - live_body, a variable: if it is set before the call, live sockets get its value
//     in place of the notification's body.
//   - KEYS and ARGV: those of store_notification.lua, then the additional ones of
//     WrappedCommand, which the fragment counts from the end.
func WrapStore(fragment string) *WrappedStore {
	return &WrappedStore{script("local function store_notification()\n" + storeNotificationSource + "\nend\n" + fragment)}
}

// WrappedCommand returns the command that runs a WrappedStore for a notification, for
// Batcher.Do. The additional keys must lie in the receiver's partition. Records.Find does
// not find events that are stored this way.
func (n *Notifications) WrappedCommand(ctx context.Context, w *WrappedStore, p *NewNotification, keys []string, args ...any) *rdb.Command {
	storeKeys, storeArgs := n.storeArgs(p, model.NewIDSuffix())
	return w.script.Command(ctx, append(storeKeys, keys...), append(storeArgs, args...)...)
}
