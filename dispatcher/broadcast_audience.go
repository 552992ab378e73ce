package dispatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// An Audience says which users, and which of their devices, a broadcast is for. It
// is judged when a user is reached, and again for each device when it is pushed to.
// What is empty does not matter.
type Audience struct {
	Platform   devices.Platform `json:"platform,omitempty"`
	MinVersion string           `json:"min,omitempty"` // the lowest version of the app
	MaxVersion string           `json:"max,omitempty"` // the highest one
	Locale     string           `json:"locale,omitempty"`
}

// ofDevices reports whether it matters which devices a user has.
func (a Audience) ofDevices() bool {
	return a.Platform != "" || a.MinVersion != "" || a.MaxVersion != ""
}

// device reports whether a device is of the audience. One whose app did not say its
// version is in no range.
func (a Audience) device(d devices.Device) bool {
	if a.Platform != "" && d.Platform != a.Platform {
		return false
	}
	if a.MinVersion == "" && a.MaxVersion == "" {
		return true
	}
	version := leadingVersion.FindString(d.AppVersion)
	return version != "" &&
		(a.MinVersion == "" || compareVersions(version, a.MinVersion) >= 0) &&
		(a.MaxVersion == "" || compareVersions(version, a.MaxVersion) <= 0)
}

var (
	wholeVersion   = regexp.MustCompile(`^\d{1,9}(\.\d{1,9}){0,3}$`)
	leadingVersion = regexp.MustCompile(`^\d{1,9}(\.\d{1,9}){0,3}`)
)

// compareVersions compares two versions number by number; those that are missing
// are 0.
func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	number := func(parts []string, i int) int {
		if i >= len(parts) {
			return 0
		}
		n, _ := strconv.Atoi(parts[i]) // at most nine digits
		return n
	}
	for i := range max(len(x), len(y)) {
		if c := cmp.Compare(number(x, i), number(y, i)); c != 0 {
			return c
		}
	}
	return 0
}

// json returns the audience as it is stored.
func (a Audience) json() []byte {
	b, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("marshal audience: %v", err)) // strings always marshal
	}
	return b
}

// readAudience reads what json wrote. Nothing is everyone.
func readAudience(stored []byte) (a Audience, err error) {
	if len(stored) == 0 {
		return a, nil
	}
	return a, json.Unmarshal(stored, &a)
}

// judge reports which users are of the audience now.
func (d *Dispatcher) judge(ctx context.Context, a Audience, users []int64) ([]bool, error) {
	fit := slices.Repeat([]bool{true}, len(users))
	if a.Locale != "" {
		profiles, err := d.Inbox.Profiles.GetAll(ctx, users...)
		if err != nil {
			return nil, err
		}
		for i, user := range users {
			chosen := ""
			if l := profiles[user].Locale; l != nil {
				chosen = *l
			}
			fit[i] = text.Match("", text.Locale(chosen), d.Locale) == text.Locale(a.Locale)
		}
	}
	if !a.ofDevices() {
		return fit, nil
	}
	pipe := d.Redis.Pipeline()
	lists := make([]*redis.StringSliceCmd, len(users))
	for i, user := range users {
		lists[i] = pipe.HVals(ctx, d.Devices.ListKey(user))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	for i, list := range lists {
		all, err := devices.ParseList(list.Val())
		if err != nil {
			return nil, err
		}
		fit[i] = fit[i] && slices.ContainsFunc(all, a.device)
	}
	return fit, nil
}

// audience reads whom a broadcast is for, and whom it names.
func (c *checker) audience(v jsontext.Value) (a Audience, users []int64) {
	if jsonscan.Absent(v) {
		return a, nil
	}
	err := jsonscan.EachMember(v, func(m jsonscan.Member) {
		if jsonscan.Absent(m.Value) {
			return
		}
		text, _ := jsonscan.Scalar(m.Value)
		switch name := string(m.Name()); name {
		case "platform":
			if a.Platform = devices.Platform(text); a.Platform != devices.Android && a.Platform != devices.IOS {
				c.wrong("audience.platform", "must be android or ios")
			}
		case "locale":
			if a.Locale = text; text != "id" && text != "en" {
				c.wrong("audience.locale", "must be id or en")
			}
		case "app_version":
			a.MinVersion, a.MaxVersion = c.versions(m.Value)
		case "user_ids":
			users = c.named(m.Value)
		default:
			c.wrong("audience."+jsonscan.Truncate(name, maxItem), "is none of platform, app_version, locale, user_ids")
		}
	})
	if err != nil {
		c.wrong("audience", "must be an object")
	}
	return a, users
}

// versions reads a range of versions of the app.
func (c *checker) versions(v jsontext.Value) (lowest, highest string) {
	const field = "audience.app_version"
	read := func(m jsonscan.Member) string {
		s, _ := jsonscan.Scalar(m.Value)
		if !jsonscan.Absent(m.Value) && !wholeVersion.MatchString(s) {
			c.wrong(field+"."+string(m.Name()), `must be a version: one to four numbers, as in "1.2"`)
		}
		return s
	}
	err := jsonscan.EachMember(v, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "min":
			lowest = read(m)
		case "max":
			highest = read(m)
		default:
			c.wrong(field, "has members other than min and max")
		}
	})
	switch {
	case err != nil:
		c.wrong(field, "must be an object")
	case lowest == "" && highest == "":
		c.wrong(field, "must have min or max")
	case lowest != "" && highest != "" && compareVersions(lowest, highest) > 0:
		c.wrong(field, "has a min above its max")
	}
	return lowest, highest
}

// named reads a list of users, and returns each once, in order.
func (c *checker) named(v jsontext.Value) (users []int64) {
	const field = "audience.user_ids"
	if v.Kind() != '[' {
		c.wrong(field, "must be an array")
		return nil
	}
	n, bad := 0, false
	jsonscan.EachElement(v, func(v jsontext.Value) {
		if n++; bad || n > MaxNamed {
			return
		}
		user, ok := c.user(fmt.Sprintf("%s[%d]", field, n-1), v)
		bad = !ok // one is enough to mend the list
		users = append(users, user)
	})
	if n == 0 || n > MaxNamed {
		c.wrong(field, fmt.Sprintf("must name 1 to %d users", MaxNamed))
	}
	slices.Sort(users)
	return slices.Compact(users)
}
