package delivery

import (
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/outbox"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Promotions that are delayed until the end of quiet hours are spread evenly.
func TestSpread(t *testing.T) {
	minutes := make([]int, quietSpread/time.Minute)
	for user := range int64(10_000) {
		by := spread(user*1000+7, quietSpread) // ids may follow a pattern
		if by != spread(user*1000+7, quietSpread) {
			t.Fatal("a user's time changes")
		}
		minutes[by/time.Minute]++
	}
	for i, n := range minutes {
		if n < 800 || n > 1200 {
			t.Errorf("minute %d: %d of 10,000 users", i, n)
		}
	}
}

// Delayed promotions are spread only until the next quiet hours begin.
func TestQuietForBetweenTwoNights(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	morning := now.Truncate(time.Minute).Add(8 * time.Hour)
	w := &Workers{Options: Options{
		Types: event.NewTypes(), Location: time.UTC, Now: func() time.Time { return now },
	}}
	clock := func(at time.Time) model.Clock { return model.Clock(at.Hour()*60 + at.Minute()) }
	quiet := model.QuietHours{From: clock(morning.Add(time.Minute)), To: clock(morning)} // all day but one minute
	promo := &task{entry: &outbox.Entry{User: 66, Type: "discount"}, settings: inbox.Settings{Quiet: quiet}}
	at := now.Add(w.quietFor(promo))
	if at.Before(morning) || !at.Before(morning.Add(time.Minute)) {
		t.Errorf("sent at %s, the pause begins at %s", at, morning)
	}
	money := &task{entry: &outbox.Entry{User: 66, Type: "dompet"}, settings: inbox.Settings{Quiet: quiet}}
	if by := w.quietFor(money); by != 0 {
		t.Errorf("money waits for %v", by)
	}
}

// A silent push stays silent on a private device.
func TestConcealSilent(t *testing.T) {
	w := &Workers{Options: Options{Texts: text.Default(), Types: event.NewTypes()}}
	silent := push.Delivery{Lane: push.Urgent, Type: "dompet"}
	if d := w.conceal(text.Indonesian, silent); !d.Silent() {
		t.Errorf("it shows %q", d.Body)
	}
}
