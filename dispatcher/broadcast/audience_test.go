package broadcast

import (
	"testing"

	"github.com/kabar-gateway/kabar/devices"
)

// TestIncludes checks which devices belong to an audience.
func TestIncludes(t *testing.T) {
	t.Parallel()
	device := func(p devices.Platform, version string) devices.Device {
		return devices.Device{Platform: p, AppVersion: version}
	}
	for _, c := range []struct {
		audience string
		device   devices.Device
		want     bool
	}{
		{``, device(devices.Android, ""), true},
		{`{}`, device(devices.Android, ""), true},
		{`{"locale":"en"}`, device(devices.IOS, ""), true},
		{`{"platform":"ios"}`, device(devices.IOS, ""), true},
		{`{"platform":"ios"}`, device(devices.Android, ""), false},
		{`{"min":"1.3"}`, device(devices.IOS, "1.10.1 (77)"), true},
		{`{"min":"1.3"}`, device(devices.IOS, "1.2"), false},
		{`{"min":"1.3"}`, device(devices.IOS, ""), false},
		{`{"min":"1.3"}`, device(devices.IOS, "beta 2"), false},
		{`{"min":"1.2.0"}`, device(devices.IOS, "1.2"), true},
		{`{"max":"1.10"}`, device(devices.IOS, "1.10.1"), false},
		{`{"max":"1.10"}`, device(devices.IOS, "1.9.9"), true},
		{`{"platform":"ios","max":"1.99"}`, device(devices.Android, "1.2"), false},
	} {
		includes, err := new(Broadcasts).ParseAudience([]byte(c.audience))
		if err != nil {
			t.Errorf("%s: %v", c.audience, err)
		} else if got := includes(c.device); got != c.want {
			t.Errorf("%s includes %+v: %t, want %t", c.audience, c.device, got, c.want)
		}
	}
	if _, err := new(Broadcasts).ParseAudience([]byte("x")); err == nil {
		t.Error("an audience that cannot be read was accepted")
	}
}
