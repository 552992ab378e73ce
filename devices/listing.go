package devices

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Suspect says that a provider has called a device's token dead once. Its pushes wait for a
// second verdict or an acceptance.
type Suspect struct {
	// Since is when the first verdict was stored, in milliseconds since 1970.
	Since int64 `json:"a"`
	// Next is when the next attempt is allowed, in milliseconds since 1970.
	Next int64 `json:"n"`
	// Reason is what the provider said.
	Reason string `json:"r"`
	// Elsewhere says that the next attempt goes to the other environment of APNs.
	Elsewhere bool `json:"e,omitempty"`
}

// Day returns the day of t as [Device.AcceptedDay] counts days.
func Day(t time.Time) int { return int(t.Unix() / (24 * 60 * 60)) }

// LastSeen returns the end of the last day on which the device was registered or named by a
// request, or a push to it was accepted.
func (d Device) LastSeen() time.Time {
	last := max(Day(time.UnixMicro(d.Generation)), d.AcceptedDay, d.SeenDay)
	return time.Unix(int64(last+1)*24*60*60, 0)
}

// ListKey returns the key of a user's device list, a hash whose values
// [ParseList] reads: for callers who read it together with other things.
func (r *Registry) ListKey(user int64) string { return r.keys.devices(user) }

// ParseList reads the values of a device list, the least recently registered
// device first.
func ParseList(values []string) ([]Device, error) { return decode(values) }

// decode reads devices as the lists hold them, and orders them by generation.
func decode(values []string) ([]Device, error) {
	ds := make([]Device, len(values))
	for i, v := range values {
		var err error
		if ds[i], err = decodeOne(v); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(ds, func(a, b Device) int { return cmp.Compare(a.Generation, b.Generation) })
	return ds, nil
}

func decodeOne(value string) (Device, error) {
	d := Device{listed: value}
	if err := json.Unmarshal([]byte(value), &d); err != nil {
		return Device{}, fmt.Errorf("malformed device: %w", err)
	}
	return d, nil
}

// AmendSource is the Lua that [Registry.Amend] has keys and arguments for: the body of a
// function with the parameters keys and args, both tables of strings. It returns 1 when the
// listing is as it is to be, and 0 when it has changed or is gone. It does not fail if the
// key is a hash or missing.
//
//go:embed amend.lua
var AmendSource string

// Amend returns the keys and arguments with which [AmendSource] replaces the listing of a
// user's device, if it still is as it was read. before is the device as [ParseList] or
// [Registry.List] returned it, after is a changed copy of it. Members of the listing that
// this build does not know, because a newer one wrote them, are kept.
func (r *Registry) Amend(user int64, before, after Device) (keys []string, args []any) {
	return []string{r.keys.devices(user)}, []any{before.ID, before.listed, encode(after, before.listed)}
}

// Change is [Registry.Amend], done at once. It returns the device as it is listed then, and
// whether it was changed.
func (r *Registry) Change(ctx context.Context, user int64, before, after Device) (Device, bool, error) {
	keys, args := r.Amend(user, before, after)
	done, err := r.runBool(ctx, amendScript, keys, args...)
	if err != nil {
		return before, false, fmt.Errorf("change a listed device: %w", err)
	}
	if !done {
		return before, false, nil
	}
	after.listed = encode(after, before.listed)
	return after, true, nil
}

// encode returns a device as JSON, with the members of the former listing that it does not
// know.
func encode(d Device, former string) string {
	data, _ := json.Marshal(d) // strings and numbers: it cannot fail
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(former), &members) != nil {
		return string(data)
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return known[name] })
	if len(members) == 0 {
		return string(data)
	}
	unknown, _ := json.Marshal(members) // valid JSON: it was decoded
	return string(data[:len(data)-1]) + "," + string(unknown[1:])
}

// known holds the names of the members of a Device as JSON.
var known = func() map[string]bool {
	names := make(map[string]bool)
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Device]()) {
		if name, _, ok := strings.Cut(f.Tag.Get("json"), ","); ok || name != "" {
			names[name] = true
		}
	}
	return names
}()
