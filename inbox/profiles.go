package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/model"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed set_profile.lua
var setProfileSource string
var setProfileScript = script(setProfileSource)

// A Profile is the data that services have set for a user. A nil field is not set, and
// Profiles.Set leaves it unchanged.
type Profile struct {
	Name, Username, Avatar, Locale, Timezone *string
	Admin                                    *bool
}

// Profiles holds the profiles and settings of users.
type Profiles struct{ *base }

// Set sets the fields that are not nil. It makes the user known, even without any field,
// and removes the tombstone of a user who was erased. The error is ErrErasing while the
// user is being erased.
func (p *Profiles) Set(ctx context.Context, user int64, profile Profile) error {
	fields := []any{"known", "1"}
	for name, value := range map[string]*string{
		"name": profile.Name, "username": profile.Username, "avatar": profile.Avatar, "locale": profile.Locale, "timezone": profile.Timezone,
	} {
		if value != nil {
			fields = append(fields, name, *value)
		}
	}
	if profile.Admin != nil {
		fields = append(fields, "admin", strconv.FormatBool(*profile.Admin))
	}
	set, err := p.set(ctx, user, "lift", fields)
	if err == nil && !set {
		return ErrErasing
	}
	return err
}

// MarkKnown makes a user known when they have signed in. The error is ErrErased when the
// user was erased: only Set removes the tombstone.
func (p *Profiles) MarkKnown(ctx context.Context, user int64) error {
	set, err := p.set(ctx, user, "leave", []any{"known", "1"})
	if err == nil && !set {
		return ErrErased
	}
	return err
}

// set sets fields, and lifts or leaves a tombstone. It returns false when nothing was set
// because of the tombstone.
func (p *Profiles) set(ctx context.Context, user int64, tombstone string, fields []any) (set bool, err error) {
	k := p.keys(user)
	users, member := p.parts.Listing(user)
	keys := []string{k.meta(), k.profile(), users, p.erasures(p.parts.OfUser(user))}
	c, err := p.batcher.Run(ctx, setProfileScript, keys, append([]any{user, member, tombstone}, fields...)...)
	if err != nil {
		return false, fmt.Errorf("set profile: %w", err)
	}
	n, err := c.Int()
	if err != nil {
		return false, fmt.Errorf("set profile: %w", err)
	}
	return n == 1, nil
}

// Get returns a user's profile, or ErrNotFound when the user is not known.
func (p *Profiles) Get(ctx context.Context, user int64) (Profile, error) {
	profiles, err := p.GetAll(ctx, user)
	if err != nil {
		return Profile{}, err
	}
	profile, known := profiles[user]
	if !known {
		return Profile{}, ErrNotFound
	}
	return profile, nil
}

// Settings are the settings of a user that concern pushes.
type Settings struct {
	Locale   string           // "id", "en", or "" when the user has not chosen one
	Timezone string           // set by a service; or ""
	Quiet    model.QuietHours // in which promotions wait
	// QuietZone is the zone of the quiet hours, or "" for Timezone.
	QuietZone string
}

// Zone returns the zone of the quiet hours, and its name: preset when neither setting
// names one.
func (s *Settings) Zone(preset *time.Location) (zone *time.Location, name string) {
	for _, name := range []string{s.QuietZone, s.Timezone} {
		if zone, ok := model.Zone(name); ok {
			return zone, name
		}
	}
	return preset, preset.String()
}

// Settings returns a user's settings.
func (p *Profiles) Settings(ctx context.Context, user int64) (Settings, error) {
	c := rdb.NewCommand(ctx, "hmget", p.keys(user).profile(), "locale", "timezone", "quiet", "quiet_zone")
	if err := p.batcher.Do(ctx, c); err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	fields, err := c.Values(4)
	if err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	return readSettings(fields), nil
}

// readSettings returns settings from the fields locale, timezone, quiet and quiet_zone, each
// nil where it is not set.
func readSettings(fields []any) Settings {
	text := func(i int) string { s, _ := fields[i].(string); return s }
	return Settings{Locale: text(0), Timezone: text(1), Quiet: model.ParseQuietHours(text(2)), QuietZone: text(3)}
}

// profileFields are the fields of the profile hash, in the order in which
// readProfile reads them.
var profileFields = []any{"known", "name", "username", "avatar", "locale", "timezone", "admin"}

// profileCommand returns the command that reads a user's profile, for readProfile.
func (b *base) profileCommand(ctx context.Context, user int64) *rdb.Command {
	return rdb.NewCommand(ctx, append([]any{"hmget", b.keys(user).profile()}, profileFields...)...)
}

// readProfile adds the profile that profileCommand has read to profiles, unless the user
// is not known.
func readProfile(c *rdb.Command, user int64, profiles map[int64]Profile) error {
	reply, err := c.Values(len(profileFields))
	if err != nil {
		return fmt.Errorf("read profile: %w", err)
	}
	text := func(i int) *string {
		if v, ok := reply[i].(string); ok {
			return &v
		}
		return nil
	}
	if text(0) == nil {
		return nil
	}
	p := Profile{Name: text(1), Username: text(2), Avatar: text(3), Locale: text(4), Timezone: text(5)}
	if v := text(6); v != nil {
		admin := *v == "true"
		p.Admin = &admin
	}
	profiles[user] = p
	return nil
}

// GetAll returns the profiles of users, in one round trip. Users who are not known are
// missing.
func (p *Profiles) GetAll(ctx context.Context, users ...int64) (map[int64]Profile, error) {
	users = slices.Clone(users)
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) == 0 {
		return nil, nil
	}
	commands := make([]*rdb.Command, len(users))
	for i, user := range users {
		commands[i] = p.profileCommand(ctx, user)
	}
	if err := p.batcher.Do(ctx, commands...); err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	profiles := make(map[int64]Profile, len(users))
	for i, user := range users {
		if err := readProfile(commands[i], user, profiles); err != nil {
			return nil, err
		}
	}
	return profiles, nil
}

// SetQuietHours sets a user's quiet hours and their zone, each unless it is nil. zone is
// a name that model.Zone knows, or "" for the zone of the user's profile. The error is
// ErrErased when the user was erased.
func (p *Profiles) SetQuietHours(ctx context.Context, user int64, q *model.QuietHours, zone *string) error {
	var fields []any
	if q != nil {
		fields = append(fields, "quiet", q.String())
	}
	if zone != nil {
		fields = append(fields, "quiet_zone", *zone)
	}
	if len(fields) == 0 {
		return nil
	}
	set, err := p.set(ctx, user, "leave", fields)
	if err == nil && !set {
		return ErrErased
	}
	return err
}
