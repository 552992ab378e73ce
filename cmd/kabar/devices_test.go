package main

import (
	"testing"

	"github.com/kabar-gateway/kabar/devices"
)

func TestDeviceState(t *testing.T) {
	for _, tc := range []struct {
		d    devices.Device
		want string
	}{
		{devices.Device{}, "receives"},
		{devices.Device{Suspended: "SENDER_ID_MISMATCH"}, "suspended: SENDER_ID_MISMATCH"},
		{devices.Device{Suspended: "SENDER_ID_MISMATCH", TriedAt: 1764353700123},
			"suspended: SENDER_ID_MISMATCH (last tried " + stampMilli(1764353700123) + ")"},
		{devices.Device{Suspect: &devices.Suspect{Since: 1764353600123, Next: 1764353660123, Reason: "UNREGISTERED"}},
			"suspect: UNREGISTERED since " + stampMilli(1764353600123) + ", next attempt " + stampMilli(1764353660123)},
	} {
		if got := deviceState(tc.d); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.d, got, tc.want)
		}
	}
	if got := acceptedDay(devices.Device{AcceptedDay: 20420}); got != "2025-11-28" {
		t.Errorf("accepted on %s", got)
	}
	if got := acceptedDay(devices.Device{}); got != "-" {
		t.Errorf("accepted on %s", got)
	}
}
