package dispatcher

import (
	"context"
	"fmt"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// A device list or an owner record that cannot be read delays only its own pushes, even
// within one batch. They are sent when it can be read again.
func TestUnreadableLookupsDelayTheirOwnPushes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	const users, badList, badOwner = 30, 7, 8
	for user := int64(1); user <= users; user++ {
		w.register(user, devices.Android, fmt.Sprint("T", user))
	}
	list := w.opts.Devices.ListKey(badList)
	owner := w.opts.Devices.OwnerKey(devices.Device{Platform: devices.Android, Token: fmt.Sprint("T", badOwner)})
	hide := func(key string) {
		w.rdb.Rename(ctx, key, key+":kept")
		w.rdb.LPush(ctx, key, "no device")
	}
	show := func(key string) { w.rdb.Rename(ctx, key+":kept", key) }
	hide(list)
	hide(owner)
	for user := 1; user <= users; user++ { // before the first read, so that all are in one batch
		w.publish(fmt.Sprintf(`{"id":"e%d","type":"dompet","receiver_id":%d,"message":"m"}`, user, user))
	}
	w.run()
	sent := w.android.wait(t, "pushes of the others", count(users-2))
	for _, d := range sent {
		if d.Token == fmt.Sprint("T", badList) || d.Token == fmt.Sprint("T", badOwner) {
			t.Errorf("%s got a push without its look-up", d.Token)
		}
	}
	show(list)
	show(owner)
	w.android.wait(t, "all pushes", func(sent []push.Delivery) bool { return len(sent) == users })
	w.settled()
}
