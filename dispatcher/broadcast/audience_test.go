package broadcast

import (
	"testing"

	"github.com/kabar-gateway/kabar/devices"
)

// Which devices are in an audience.
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
		if got, err := new(Broadcasts).Includes([]byte(c.audience), c.device); got != c.want || err != nil {
			t.Errorf("%s includes %+v: %t, %v", c.audience, c.device, got, err)
		}
	}
	if ok, err := new(Broadcasts).Includes([]byte("x"), devices.Device{}); !ok || err == nil {
		t.Errorf("an audience that cannot be read: %t, %v", ok, err)
	}
}
