package broadcast

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// An Audience says which users, and which of their devices, a broadcast is for. It is
// evaluated when the walk reaches a user, and again for each device when the push is
// sent. Empty fields do not restrict it.
type Audience struct {
	Platform   devices.Platform `json:"platform,omitempty"`
	MinVersion string           `json:"min,omitempty"` // the lowest version of the app
	MaxVersion string           `json:"max,omitempty"` // the highest one
	Locale     string           `json:"locale,omitempty"`
}

// needsDevices reports whether it matters which devices a user has.
func (a Audience) needsDevices() bool {
	return a.Platform != "" || a.MinVersion != "" || a.MaxVersion != ""
}

// includes reports whether a device is in the audience. A device whose app did not say
// its version is in no range.
func (a Audience) includes(d devices.Device) bool {
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

// compareVersions compares two versions number by number; missing numbers are 0.
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

// stored returns the audience as it is stored.
func (a Audience) stored() []byte {
	b, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("marshal audience: %v", err)) // strings always marshal
	}
	return b
}

// ParseAudience reads an audience as it is stored beside the broadcast's body, and
// returns a function that reports whether a device is in it. An empty one includes every
// device.
func (*Broadcasts) ParseAudience(stored []byte) (includes func(devices.Device) bool, err error) {
	var a Audience
	if len(stored) > 0 {
		if err := json.Unmarshal(stored, &a); err != nil {
			return nil, fmt.Errorf("read audience: %w", err)
		}
	}
	return a.includes, nil
}

// matchUsers reports which of the users are in the audience now.
func (b *Broadcasts) matchUsers(ctx context.Context, a Audience, users []int64) ([]bool, error) {
	matches := slices.Repeat([]bool{true}, len(users))
	if a.Locale != "" {
		profiles, err := b.inbox.Profiles.GetAll(ctx, users...)
		if err != nil {
			return nil, err
		}
		for i, user := range users {
			chosen := ""
			if l := profiles[user].Locale; l != nil {
				chosen = *l
			}
			matches[i] = text.Match("", text.Locale(chosen), b.locale) == text.Locale(a.Locale)
		}
	}
	if !a.needsDevices() {
		return matches, nil
	}
	pipe := b.redis.Pipeline()
	lists := make([]*redis.StringSliceCmd, len(users))
	for i, user := range users {
		lists[i] = pipe.HVals(ctx, b.devices.ListKey(user))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	for i, list := range lists {
		all, err := devices.ParseList(list.Val())
		if err != nil {
			return nil, err
		}
		matches[i] = matches[i] && slices.ContainsFunc(all, a.includes)
	}
	return matches, nil
}
