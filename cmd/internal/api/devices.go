package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/account"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// The documented texts of the device endpoints, by id.
const (
	textDeviceAdded     = "api.device.added"
	textDeviceNotAdded  = "api.device.not_added"
	textDeviceUpdated   = "api.device.updated"
	textDeviceUnchanged = "api.device.not_updated"
	textDeviceRemoved   = "api.device.removed"
	textDeviceOfOther   = "api.device.not_yours"
	textLoggedOut       = "api.device.logged_out"
	textNoDevice        = "api.device.not_found"
	textNotLoggedOut    = "api.device.not_logged_out"
)

// A platform holds what differs between the device endpoints of Android, iOS and browsers.
type platform struct {
	name  devices.Platform
	token string // the parameter that holds a device's token
	fid   bool   // the token is a Firebase installation id
	via   devices.Provider
}

// tokens returns the platform whose tokens the devices have, by which a token alone names one.
func (p platform) tokens() devices.Platform {
	if p.via == devices.FCM {
		return devices.Android
	}
	return p.name
}

var (
	android    = platform{devices.Android, "reg_id", false, ""}
	androidFID = platform{devices.Android, "fid", true, ""}
	ios        = platform{devices.IOS, "token", false, ""}
	iosFCM     = platform{devices.IOS, "token", false, devices.FCM}
	iosFID     = platform{devices.IOS, "fid", true, devices.FCM}
)

// by returns the platform with the parameter by which a request names a device: a token of
// APNs, or a registration token or installation id of Firebase. The parameter's name begins
// with prefix.
func (p platform) by(in *params, prefix string) platform {
	if p == ios {
		switch in.text("provider") {
		case "fcm":
			p = iosFCM
		case "", "apns":
		default:
			in.reject("provider", "is none of apns and fcm")
		}
	}
	var id platform
	switch p {
	case android:
		id = androidFID
	case iosFCM:
		id = iosFID
	default:
		return p
	}
	if in.text(prefix+id.token) == "" {
		return p
	}
	if in.text(prefix+p.token) != "" {
		in.reject(prefix+id.token, "cannot be given beside "+prefix+p.token)
	}
	return id
}

// blame translates the field of an error to the name of the platform's parameter.
func (p platform) blame(err error) error {
	var e *account.InvalidError
	if !errors.As(err, &e) {
		return err
	}
	field := e.Field
	if prefix, ok := strings.CutSuffix(field, "token"); ok {
		field = prefix + p.token
	}
	return wrong(field, e.Problem)
}

// registration serves the endpoints that register and remove devices.
type registration struct {
	devices   Devices
	apps      []string // names of apps
	added     limited
	removed   limited
	publisher Publisher
	language  *language
}

// app returns the app that a request names, or "" for the default one.
func (reg *registration) app(in *params) string {
	app := in.text("app")
	if app != "" && app != push.DefaultApp && !slices.Contains(reg.apps, app) {
		in.reject("app", "is not an app of this gateway")
	}
	return app
}

// addDevice: POST /v2/notifications/android.json, …/ios.json
func (reg *registration) addDevice(p platform) func(*http.Request, int64) (reply, error) {
	return func(r *http.Request, user int64) (reply, error) {
		in, err := readParams(r)
		if err != nil {
			return reply{}, because(textDeviceNotAdded, err)
		}
		p := p.by(in, "")
		d := readDevice(in, p)
		d.App, d.Environment, d.Style = reg.app(in), in.text("environment"), devices.Style(in.text("style"))
		return reg.register(r, user, in, p, d)
	}
}

// readDevice reads what all platforms say of a device.
func readDevice(in *params, p platform) devices.Device {
	return devices.Device{
		Platform:        p.name,
		Token:           in.text(p.token),
		FID:             p.fid,
		Provider:        p.via,
		Model:           in.text("model"),
		Manufacturer:    in.text("manufacturer"),
		ProductName:     in.text("product_name", "name"),
		AppVersion:      in.text("app_version", "apps_version"),
		OperatingSystem: in.text("operating_system"),
	}
}

// register registers a device that was read from a request.
func (reg *registration) register(r *http.Request, user int64, in *params, p platform, d devices.Device) (reply, error) {
	err := in.err()
	if err == nil {
		err = reg.added.allow(r, user)
	}
	if err == nil {
		_, err = reg.devices.Register(r.Context(), user, d, reg.publisher.Reminder(user))
	}
	if err != nil {
		return reply{}, because(textDeviceNotAdded, p.blame(err))
	}
	return reg.language.say(r, user, textDeviceAdded)
}

// updateDevice: PATCH /v2/notifications/android.json, …/ios.json
func (reg *registration) updateDevice(p platform) func(*http.Request, int64) (reply, error) {
	return func(r *http.Request, user int64) (reply, error) {
		in, err := readParams(r)
		if err != nil {
			return reply{}, because(textDeviceUnchanged, err)
		}
		from, to := p.by(in, "old_"), p.by(in, "new_")
		before := in.text("old_" + from.token)
		after := devices.Device{
			Platform: p.name, Token: in.text("new_" + to.token), FID: to.fid, Provider: to.via, App: reg.app(in), Environment: in.text("environment"),
		}
		if err = in.err(); err == nil {
			err = reg.added.allow(r, user)
		}
		if err == nil {
			_, err = reg.devices.Replace(r.Context(), user, before, after)
		}
		if err != nil {
			if e := (*account.InvalidError)(nil); errors.As(err, &e) && strings.HasPrefix(e.Field, "old_") {
				to = from
			}
			return reply{}, because(textDeviceUnchanged, to.blame(err))
		}
		return reg.language.say(r, user, textDeviceUpdated)
	}
}

// removeDevice: DELETE /v2/notifications/android.json, …/ios.json, …/web.json
func (reg *registration) removeDevice(p platform) func(*http.Request, int64) (reply, error) {
	return func(r *http.Request, user int64) (reply, error) {
		in, err := readParams(r)
		if err != nil {
			return reply{}, err
		}
		p := p.by(in, "")
		token := in.text(p.token)
		if err = in.err(); err == nil {
			err = reg.removed.allow(r, user)
		}
		if err == nil {
			err = reg.devices.Remove(r.Context(), user, p.tokens(), token)
		}
		switch {
		case errors.Is(err, devices.ErrNotOwner):
			return reply{}, because(textDeviceOfOther, err)
		case err != nil && !errors.Is(err, devices.ErrNotRegistered): // removing it again is fine
			return reply{}, p.blame(err)
		}
		return reg.language.say(r, user, textDeviceRemoved)
	}
}

// deviceIn returns the platform and token of the device that a request names by one of
// their parameters; the token is empty when there is none.
func deviceIn(in *params) (p platform, token string) {
	p = android
	for _, other := range []platform{android, androidFID, ios, web} {
		switch named := in.text(other.token); {
		case named == "":
		case token != "":
			in.reject(other.token, "cannot be given beside "+p.token)
		default:
			p, token = other.by(in, ""), named
		}
	}
	return p, token
}

// logOut: DELETE /v2/notifications/logout.json
func (reg *registration) logOut(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, because(textNotLoggedOut, err)
	}
	p, token := deviceIn(in)
	if token == "" {
		in.reject(android.token, "or fid or token or endpoint is required")
	}
	if err = in.err(); err == nil {
		err = reg.removed.allow(r, user)
	}
	if err == nil {
		err = reg.devices.Remove(r.Context(), user, p.tokens(), token)
	}
	switch {
	case errors.Is(err, devices.ErrNotRegistered):
		return reg.language.say(r, user, textNoDevice)
	case err != nil:
		return reply{}, because(textNotLoggedOut, p.blame(err))
	}
	return reg.language.say(r, user, textLoggedOut)
}
