package webpush

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestCheckService(t *testing.T) {
	for service, want := range map[string]bool{
		"fcm.googleapis.com": true, "*.push.apple.com": true, "127.0.0.1:9400": true, "localhost:9400": true, "[::1]:9400": true,
		"*.example:8443": false, "*.push.example:8443": true,
		"": false, "*": false, "*.": false, "*.com": false, "**.example.com": false, "a.*.com": false, "https://a.example": false, "a.example/x": false,
		"user@a.example": false, "A.example": false, "a b.example": false, "*.127.0.0.1": false, "a.example:x": false,
	} {
		if err := CheckService(service); (err == nil) != want {
			t.Errorf("%q: %v", service, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, test := range []struct {
		service, host string
		want          bool
	}{
		{"fcm.googleapis.com", "fcm.googleapis.com", true},
		{"fcm.googleapis.com", "fcm.googleapis.com:443", true},
		{"fcm.googleapis.com", "fcm.googleapis.com:8443", false},
		{"fcm.googleapis.com", "evil-fcm.googleapis.com", false},
		{"127.0.0.1:9400", "127.0.0.1:9400", true},
		{"*.push.apple.com", "web.push.apple.com", true},
		{"*.push.apple.com", "push.apple.com", false},
		{"*.push.apple.com", ".push.apple.com", false},
		{"*.push.apple.com", "web.push.apple.com.evil.example", false},
		{"*.push.apple.com", "evilpush.apple.com", false},
	} {
		if got := Matches(test.service, test.host); got != test.want {
			t.Errorf("%s, %s: %v", test.service, test.host, got)
		}
	}
}

var services = []string{"fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com"}

// Endpoints of the common browsers have a service; those at other hosts have none.
func TestServiceOf(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://fcm.googleapis.com/fcm/send/cX-1:APA91b":                "fcm.googleapis.com",
		"https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk":    "*.push.services.mozilla.com",
		"https://web.push.apple.com/QGuQyavXutnMH":                       "*.push.apple.com",
		"https://wns2-par02p.notify.windows.com/w/?token=BQYAAAC%2fKjq":  "*.notify.windows.com",
		"https://evil.example/push":                                      "",
		"http://fcm.googleapis.com/fcm/send/x":                           "",
		"https://FCM.googleapis.com/fcm/send/x":                          "",
		"https://user:secret@fcm.googleapis.com/x":                       "",
		"https://fcm.googleapis.com:8443/x":                              "",
		"https://fcm.googleapis.com/x#y":                                 "",
		"https://fcm.googleapis.com/x y":                                 "",
		"https://fcm.googleapis.com/\r\nX: y":                            "",
		"https://169.254.169.254/latest":                                 "",
		"":                                                               "",
		"https://fcm.googleapis.com/" + strings.Repeat("x", maxEndpoint): "",
	} {
		got, err := ServiceOf(services, endpoint)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", endpoint, got, err)
		}
		if err != nil && endpoint != "" && strings.Contains(err.Error(), endpoint) {
			t.Errorf("the error has the endpoint: %v", err)
		}
	}
}

// Keys are taken as browsers write them, in either alphabet of base64.
func TestCheckKeys(t *testing.T) {
	_, public := newKeys(t)
	secret := []byte("0123456789abcde\xff")
	auth := base64.RawURLEncoding.EncodeToString(secret)
	for _, test := range []struct {
		p256dh, auth string
		good1, good2 bool
	}{
		{public, auth, true, true},
		{strings.NewReplacer("-", "+", "_", "/").Replace(public) + "=", base64.StdEncoding.EncodeToString(secret), true, true},
		{"", "", false, false},
		{public, strings.Replace(auth, "_", "/", 1) + "-", true, false}, // both alphabets
		{public[:20], auth, false, true},
		{strings.Repeat("A", len(public)), auth, false, true}, // not on the curve
		{public, auth[:10], true, false},
		{public, "%", true, false},
	} {
		err1, err2 := CheckKeys(test.p256dh, test.auth)
		if (err1 == nil) != test.good1 || (err2 == nil) != test.good2 {
			t.Errorf("%q, %q: %v, %v", test.p256dh, test.auth, err1, err2)
		}
	}
}
