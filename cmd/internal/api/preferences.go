package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// The texts of changing preferences, by id. The English ones are documented.
const (
	textConfigUpdated   = "api.config.updated"
	textConfigUnchanged = "api.config.not_updated"
)

// privateMember is the member of config that hides amounts of money on the lock screen.
const privateMember = "private"

// A config holds a user's settings, and the preferences for one device if the request
// names one.
type config struct {
	device   *devices.Preferences
	settings inbox.Settings
}

// preferences serves the endpoints of users' preferences; see config.
type preferences struct {
	devices    Devices
	profiles   Profiles
	deliveries Deliveries
	language   *language
	location   *time.Location
	// mutable are the types that can be muted on a device.
	mutable []string
}

// showConfig: GET /v2/notifications/config.json
func (prefs *preferences) showConfig(r *http.Request, user int64) (reply, error) {
	in, err := readParams(r)
	if err != nil {
		return reply{}, err
	}
	p, token := deviceIn(in)
	if err := in.err(); err != nil {
		return reply{}, err
	}
	var c config
	if token != "" {
		device, err := prefs.devices.Preferences(r.Context(), user, p.tokens(), token)
		if err != nil {
			return reply{}, noConfig(textNoDevice, p.blame(err))
		}
		c.device = &device
	}
	if c.settings, err = prefs.profiles.Settings(r.Context(), user); err != nil {
		return reply{}, err
	}
	return prefs.configReply(c, nil)
}

// setConfig: PATCH /v2/notifications/config.json
func (prefs *preferences) setConfig(r *http.Request, user int64) (reply, error) {
	c, err := prefs.changeConfig(r, user)
	if err != nil {
		return reply{}, noConfig(textConfigUnchanged, err)
	}
	done := prefs.language.word(r, user, textConfigUpdated)
	return prefs.configReply(c, &done)
}

// noConfig gives err the text with this id, or that for another user's device.
func noConfig(text string, err error) error {
	if errors.Is(err, devices.ErrNotOwner) {
		text = textDeviceOfOther
	}
	return because(text, err)
}

// changeConfig applies a request and returns the new preferences. It begins with the
// device, because that fails when the device is another user's. Repeating the request is
// safe.
func (prefs *preferences) changeConfig(r *http.Request, user int64) (config, error) {
	in, err := readParams(r)
	if err != nil {
		return config{}, err
	}
	p, token := deviceIn(in)
	wanted := readConfig(in, prefs.mutable)
	quiet, zone := readQuiet(in)
	switch {
	case len(in.wrong) > 0:
	case len(wanted) > 0 && token == "":
		in.reject(android.token, "or fid or token or endpoint is required with config")
	case len(wanted) == 0 && quiet == nil && zone == nil:
		in.reject("config", "names nothing that can be switched, and quiet is not given")
	}
	if err := in.err(); err != nil {
		return config{}, err
	}
	c := config{}
	if token != "" {
		if c.device, err = prefs.prefer(r.Context(), user, p, token, wanted); err != nil {
			return config{}, p.blame(err)
		}
	}
	if err := setQuietHours(r.Context(), prefs.profiles, prefs.deliveries, user, quiet, zone); err != nil {
		return config{}, err
	}
	c.settings, err = prefs.profiles.Settings(r.Context(), user)
	return c, err
}

// setQuietHours sets the given fields of a user's quiet hours. Pushes that were delayed to
// their end become due; delivery delays them again if the user's quiet hours still apply.
// After an error the client repeats the request.
func setQuietHours(ctx context.Context, p Profiles, d Deliveries, user int64, quiet *model.QuietHours, zone *string) error {
	if quiet == nil && zone == nil {
		return nil
	}
	before, err := p.Settings(ctx, user)
	if err != nil {
		return err
	}
	if err := p.SetQuietHours(ctx, user, quiet, zone); err != nil {
		return err
	}
	if (quiet == nil || *quiet == before.Quiet) && (zone == nil || *zone == before.QuietZone) {
		return nil // releasing scans all that is delayed in the user's partition
	}
	return d.ReleaseQuiet(ctx, user)
}

// prefer switches the preferences in wanted on or off for a device, if there are any.
func (prefs *preferences) prefer(ctx context.Context, user int64, p platform, token string, wanted map[string]bool) (*devices.Preferences, error) {
	if len(wanted) == 0 {
		now, err := prefs.devices.Preferences(ctx, user, p.tokens(), token)
		return &now, err
	}
	now, err := prefs.devices.Prefer(ctx, user, p.tokens(), token, func(now *devices.Preferences) {
		for name, on := range wanted {
			if name == privateMember {
				now.Private = on
			} else {
				now.Switch(name, on)
			}
		}
	})
	return &now, err
}

// readConfig reads the switches in config[…]: the named types, and private. Unknown members
// are ignored like other unknown parameters.
func readConfig(in *params, names []string) map[string]bool {
	wanted := make(map[string]bool)
	read := func(name string) {
		parameter := "config[" + name + "]"
		switch value, given := in.given(parameter); {
		case !given:
		case value == "1" || value == "true":
			wanted[name] = true
		case value == "0" || value == "false":
			wanted[name] = false
		default:
			in.reject(parameter, "must be 1 or 0")
		}
	}
	for _, name := range names {
		read(name)
	}
	read(privateMember)
	return wanted
}

// readQuiet reads quiet hours from quiet[from], quiet[to] and quiet[timezone]; quiet=0
// switches them off. A result is nil when the request does not set it.
func readQuiet(in *params) (*model.QuietHours, *string) {
	from, hasFrom := in.given("quiet[from]")
	to, hasTo := in.given("quiet[to]")
	zone := readQuietZone(in)
	if off := in.values["quiet"]; len(off) > 0 {
		if off[0] != "0" && off[0] != "false" || hasFrom || hasTo {
			in.reject("quiet", "must be 0 or have from and to")
		}
		return &model.QuietHours{}, zone
	}
	if !hasFrom && !hasTo {
		return nil, zone
	}
	clock := func(name, value string) model.Clock {
		c, err := model.ParseClock(value)
		if err != nil {
			in.reject(name, err.Error())
		}
		return c
	}
	q := model.QuietHours{From: clock("quiet[from]", from), To: clock("quiet[to]", to)}
	if q.None() {
		in.reject("quiet[to]", "must be another time than quiet[from]")
	}
	return &q, zone
}

// readQuietZone reads quiet[timezone]. An empty one stands for the profile's.
func readQuietZone(in *params) *string {
	zone, given := in.given("quiet[timezone]")
	if !given {
		return nil
	}
	if zone != "" {
		if problem := timezoneProblem(zone); problem != "" {
			in.reject("quiet[timezone]", problem)
		}
	}
	return &zone
}

// A quietReply shows quiet hours.
type quietReply struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Timezone string `json:"timezone"`
}

// configReply shows preferences in the format of the marketplace's older interface, with
// "1" for on and "0" for off, and the quiet hours.
func (prefs *preferences) configReply(c config, message *string) (reply, error) {
	answer := struct {
		Status  string         `json:"status"`
		Config  jsontext.Value `json:"config,omitzero"`
		Quiet   *quietReply    `json:"quiet"`
		Message *string        `json:"message"`
	}{Status: "OK", Message: message}
	if c.device != nil {
		answer.Config = prefs.configJSON(c.device)
	}
	if q := c.settings.Quiet; !q.None() {
		_, zone := c.settings.Zone(prefs.location)
		answer.Quiet = &quietReply{q.From.String(), q.To.String(), zone}
	}
	return ok(answer)
}

// configJSON lists all types that can be muted, sorted, and private at the end.
func (prefs *preferences) configJSON(p *devices.Preferences) jsontext.Value {
	b := []byte{'{'}
	add := func(name string, on bool) {
		b = append(append(append(b, '"'), name...), `":"0",`...) // names are words
		if on {
			b[len(b)-3] = '1'
		}
	}
	for _, name := range prefs.mutable {
		add(name, !p.IsOff(name))
	}
	add(privateMember, p.Private)
	b[len(b)-1] = '}'
	return b
}
