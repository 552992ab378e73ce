package devices

import (
	"errors"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/devices/internal/redistest"
)

func TestInvalid(t *testing.T) {
	long := strings.Repeat("a", maxField+1)
	with := func(change func(*Device)) Device {
		d := phone("A")
		change(&d)
		return d
	}
	tests := map[string]struct {
		device Device
		field  string // the invalid field, "" for none
	}{
		"documented Android sample":    {Device{Platform: Android, Token: "ASD223SDA"}, ""},
		"FCM token":                    {Device{Platform: Android, Token: "dQw4w9WgXcQ:APA91bH-x_Y" + strings.Repeat("z", 140)}, ""},
		"longest Android token":        {Device{Platform: Android, Token: strings.Repeat("a", 1024)}, ""},
		"Android token too long":       {Device{Platform: Android, Token: strings.Repeat("a", 1025)}, "token"},
		"Android token with a space":   {Device{Platform: Android, Token: "a b"}, "token"},
		"Android token with a brace":   {Device{Platform: Android, Token: "a{b}"}, "token"},
		"Android token not ASCII":      {Device{Platform: Android, Token: "é"}, "token"},
		"documented iOS sample":        {Device{Platform: IOS, Token: "ASD223SDA"}, ""},
		"longest iOS token":            {Device{Platform: IOS, Token: strings.Repeat("f", 200)}, ""},
		"iOS token too long":           {Device{Platform: IOS, Token: strings.Repeat("f", 201)}, "token"},
		"iOS token that leaves a path": {Device{Platform: IOS, Token: "../3/device"}, "token"},
		"iOS token with a colon":       {Device{Platform: IOS, Token: "a:b"}, "token"},
		"iOS token with a line break":  {Device{Platform: IOS, Token: "a\nb"}, "token"},
		"Android that draws":           {Device{Platform: Android, Token: "A", Style: StyleData}, ""},
		"Android that does not":        {Device{Platform: Android, Token: "A", Style: StyleNotification}, ""},
		"a style that is none":         {Device{Platform: Android, Token: "A", Style: "Data"}, "style"},
		"a style on iOS":               {Device{Platform: IOS, Token: "A", Style: StyleData}, "style"},
		"subscription":                 {browser(""), ""},
		"longest endpoint":             {browser(strings.Repeat("x", 1004)), ""},
		"endpoint too long":            {browser(strings.Repeat("x", 1005)), "token"},
		"endpoint with a fragment":     {browser("#x"), "token"},
		"endpoint without TLS":         {Device{Platform: Web, Token: "http://push.example", Environment: "push.example", P256dh: "k", Auth: "a"}, "token"},
		"no push service":              {Device{Platform: Web, Token: "https://push.example", P256dh: "k", Auth: "a"}, "environment"},
		"no public key":                {Device{Platform: Web, Token: "https://push.example", Environment: "push.example", Auth: "a"}, "keys[p256dh]"},
		"no secret":                    {Device{Platform: Web, Token: "https://push.example", Environment: "push.example", P256dh: "k"}, "keys[auth]"},
		"a phone with a secret":        {Device{Platform: IOS, Token: "A", Auth: "a"}, "keys[auth]"},
		"long key":                     {with(func(d *Device) { *d = browser(""); d.P256dh = long }), "keys[p256dh]"},
		"no token":                     {Device{Platform: IOS}, "token"},
		"no platform":                  {Device{Token: "A"}, "platform"},
		"200 characters of two bytes":  {with(func(d *Device) { d.Model = strings.Repeat("é", 200) }), ""},
		"model too long":               {with(func(d *Device) { d.Model = long }), "model"},
		"manufacturer too long":        {with(func(d *Device) { d.Manufacturer = long }), "manufacturer"},
		"product name not UTF-8":       {with(func(d *Device) { d.ProductName = "\xff" }), "product_name"},
		"version with a line break":    {with(func(d *Device) { d.AppVersion = "1\n" }), "app_version"},
		"system with a zero":           {with(func(d *Device) { d.OperatingSystem = "IOS\x007" }), "operating_system"},
	}
	t.Parallel()
	r := store{redistest.Single(t)}.registry(Options{})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := r.Register(t.Context(), ani, tc.device, nil)
			wantInvalid(t, err, tc.field)
		})
	}
	_, err := r.Register(t.Context(), 0, phone("A"), nil)
	wantInvalid(t, err, "user_id")
	_, err = r.Replace(t.Context(), ani, "a/b", Device{Platform: IOS, Token: "A"})
	wantInvalid(t, err, "old_token")
	_, err = r.Replace(t.Context(), ani, "A", Device{Platform: IOS, Token: "a/b"})
	wantInvalid(t, err, "new_token")
	wantInvalid(t, r.Remove(t.Context(), ani, IOS, ""), "token")
}

// browser returns a subscription whose endpoint ends so.
func browser(end string) Device {
	return Device{Platform: Web, Token: "https://push.example" + end, Environment: "push.example", P256dh: "key", Auth: "secret"}
}

// wantInvalid checks that err is an InvalidError of the given field, or nil if field is "".
func wantInvalid(t *testing.T, err error, field string) {
	t.Helper()
	var invalid *account.InvalidError
	switch {
	case field == "":
		check(t, err)
	case !errors.As(err, &invalid) || invalid.Field != field:
		t.Errorf("got %v, want %s to be invalid", err, field)
	}
}
