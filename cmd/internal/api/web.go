package api

import (
	"net/http"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// textWebOff says that the gateway sends nothing to browsers.
const textWebOff = "api.web.off"

// web is what the endpoints of browsers have in common with those of phones.
var web = platform{name: devices.Web, token: "endpoint"}

// Browsers configure which browsers may register. The zero value lets none.
type Browsers struct {
	// PublicKey is the VAPID public key with which browsers subscribe.
	PublicKey string
	// Services are the push services that they may subscribe at; see [webpush.CheckService].
	Services []string
}

// browsers serves the endpoints that only browsers have.
type browsers struct {
	Browsers
	registration *registration
}

// on returns an endpoint that exists only if the gateway sends to browsers.
func (b *browsers) on(serve func(*http.Request, int64) (reply, error)) func(*http.Request, int64) (reply, error) {
	return func(r *http.Request, user int64) (reply, error) {
		if b.PublicKey == "" {
			return reply{}, because(textWebOff, &failure{code: notFound})
		}
		return serve(r, user)
	}
}

// publicKey: GET /v2/notifications/web.json
func (b *browsers) publicKey(*http.Request, int64) (reply, error) {
	return ok(struct {
		Status    string  `json:"status"`
		PublicKey string  `json:"public_key"`
		Message   *string `json:"message"`
	}{"OK", b.PublicKey, nil})
}

// addBrowser: POST /v2/notifications/web.json
func (b *browsers) addBrowser(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, because(textDeviceNotAdded, err)
	}
	d := readDevice(in, web)
	d.P256dh, d.Auth = in.text("keys[p256dh]"), in.text("keys[auth]")
	if d.Environment, err = webpush.ServiceOf(b.Services, d.Token); err != nil && d.Token != "" {
		in.reject(web.token, err.Error())
	}
	errP256dh, errAuth := webpush.CheckKeys(d.P256dh, d.Auth)
	for name, err := range map[string]error{"keys[p256dh]": errP256dh, "keys[auth]": errAuth} {
		if err != nil {
			in.reject(name, err.Error())
		}
	}
	return b.registration.register(r, user, in, web, d)
}
