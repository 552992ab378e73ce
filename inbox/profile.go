package inbox

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

//go:embed set_profile.lua
var setProfileSource string
var setProfileScript = script(setProfileSource)

// A Profile is what services have said of a user. In SetProfile, nil leaves a
// field as it is.
type Profile struct {
	Name, Username, Avatar, Locale, Timezone *string
	Admin                                    *bool
}

// SetProfile sets the fields that are given. A user with a profile is one whom
// Kabar knows, even with no field set; one who was erased begins anew by it. The
// error is ErrErasing while the user is being erased.
func (s *Store) SetProfile(ctx context.Context, user int64, p Profile) error {
	fields := []any{"known", "1"}
	for name, value := range map[string]*string{
		"name": p.Name, "username": p.Username, "avatar": p.Avatar, "locale": p.Locale, "timezone": p.Timezone,
	} {
		if value != nil {
			fields = append(fields, name, *value)
		}
	}
	if p.Admin != nil {
		fields = append(fields, "admin", strconv.FormatBool(*p.Admin))
	}
	set, err := s.setProfile(ctx, user, "lift", fields)
	if err == nil && !set {
		return ErrErasing
	}
	return err
}

// Welcome makes a user known who has signed in. The error is ErrErased when the
// user was erased: only SetProfile has them begin anew.
func (s *Store) Welcome(ctx context.Context, user int64) error {
	set, err := s.setProfile(ctx, user, "leave", []any{"known", "1"})
	if err == nil && !set {
		return ErrErased
	}
	return err
}

func (s *Store) setProfile(ctx context.Context, user int64, tombstone string, fields []any) (set bool, err error) {
	k := s.keys(user)
	users, member := s.parts.Listing(user)
	keys := []string{k.meta(), k.profile(), users, s.erasures(s.parts.OfUser(user))}
	c := setProfileScript.Command(ctx, keys, append([]any{user, member, tombstone}, fields...)...)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return false, fmt.Errorf("set profile: %w", err)
	}
	n, err := c.Int()
	if err != nil {
		return false, fmt.Errorf("set profile: %w", err)
	}
	return n == 1, nil
}

// Profile returns what is known of a user, or ErrNotFound.
func (s *Store) Profile(ctx context.Context, user int64) (Profile, error) {
	profiles, err := s.Profiles(ctx, user)
	if err != nil {
		return Profile{}, err
	}
	p, known := profiles[user]
	if !known {
		return Profile{}, ErrNotFound
	}
	return p, nil
}

// Settings are what a user's profile says of how they want to be told.
type Settings struct {
	Locale   string     // "id", "en", or "" when they did not choose
	Timezone string     // where they are, as a service has said; or ""
	Quiet    QuietHours // in which promotions wait
	// QuietZone is the zone of the quiet hours, where it is not Timezone; or "".
	QuietZone string
}

// Zone returns the zone in which the quiet hours are meant, and its name: preset when
// nothing says one.
func (s *Settings) Zone(preset *time.Location) (zone *time.Location, name string) {
	for _, name := range []string{s.QuietZone, s.Timezone} {
		if zone, ok := Zone(name); ok {
			return zone, name
		}
	}
	return preset, preset.String()
}

var settingsFields = []any{"locale", "timezone", "quiet", "quiet_zone"}

// SettingsCommand returns the command that reads a user's settings, to be read with
// ReadSettings after Batcher.Do.
func (s *Store) SettingsCommand(ctx context.Context, user int64) *rdb.Command {
	return rdb.NewCommand(ctx, append([]any{"hmget", s.keys(user).profile()}, settingsFields...)...)
}

// ReadSettings reads the reply to SettingsCommand.
func ReadSettings(c *rdb.Command) (Settings, error) {
	fields, err := c.Slice()
	if err != nil || len(fields) != len(settingsFields) {
		return Settings{}, fmt.Errorf("read settings: reply of %d fields: %w", len(fields), err)
	}
	text := func(i int) string {
		s, _ := fields[i].(string) // else nil: not set
		return s
	}
	return Settings{Locale: text(0), Timezone: text(1), Quiet: parseQuietHours(text(2)), QuietZone: text(3)}, nil
}

// Settings returns a user's settings.
func (s *Store) Settings(ctx context.Context, user int64) (Settings, error) {
	c := s.SettingsCommand(ctx, user)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	return ReadSettings(c)
}

// profileFields are the fields of the profile hash, in the order in which newProfile
// reads them.
var profileFields = []any{"known", "name", "username", "avatar", "locale", "timezone", "admin"}

// profileCommand returns the command that reads a user's profile, for readProfile.
func (s *Store) profileCommand(ctx context.Context, user int64) *rdb.Command {
	return rdb.NewCommand(ctx, append([]any{"hmget", s.keys(user).profile()}, profileFields...)...)
}

// readProfile puts the reply to profileCommand into profiles, unless the user is
// not known.
func readProfile(c *rdb.Command, user int64, profiles map[int64]Profile) error {
	reply, err := c.Slice()
	if err != nil || len(reply) != len(profileFields) {
		return fmt.Errorf("read profile: %d fields: %w", len(reply), err)
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
