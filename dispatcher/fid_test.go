package dispatcher

import (
	"context"
	"fmt"
	"testing"

	"github.com/kabar-gateway/kabar/devices"
)

// A phone that says its registration token, then its installation id, and the reverse, rings
// once for each event: for those that wait while it moves, too.
func TestPhoneThatMovesRingsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const fid = "cdefghijklmnopqrstuvwx"
	names := []devices.Device{
		{Platform: devices.Android, Token: fid + ":APA91b"},
		{Platform: devices.Android, Token: fid, FID: true},
		{Platform: devices.Android, Token: fid + ":APA91c"},
		{Platform: devices.Android, Token: fid, FID: true},
	}
	register := func(d devices.Device) {
		t.Helper()
		if _, err := w.opts.Devices.Register(context.Background(), 66, d, nil); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(id string) {
		w.publish(fmt.Sprintf(`{"id":%q,"type":"announcement","receiver_id":66,"title":"t","message":"m","details":{}}`, id))
	}
	register(names[0])
	publish("waits")
	for i, d := range names {
		register(d)
		if i == 1 {
			w.run()
			w.settled()
		}
		publish(fmt.Sprint("new", i))
		if i == 0 {
			continue // waits, too
		}
		w.settled()
		if sent := w.android.pushes(); len(sent) != i+2 {
			t.Fatalf("%d pushes after %d events", len(sent), i+2)
		}
		last := w.android.pushes()[i+1]
		if last.Token != d.Token || last.FID != d.FID {
			t.Errorf("%s went to %q, the phone is %q", last.ID, last.Token, d.Token)
		}
	}
	for _, push := range w.android.pushes()[:2] {
		if push.Token != fid || !push.FID {
			t.Errorf("%s waited and went to %q", push.ID, push.Token)
		}
	}
}
