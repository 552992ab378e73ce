package inbox

import (
	"context"
	"fmt"
	"strconv"
)

// A Profile is what services have said of a user. In SetProfile, nil leaves a
// field as it is.
type Profile struct {
	Name, Username, Avatar, Locale, Timezone *string
	Admin                                    *bool
}

// SetProfile sets the fields that are given. A user with a profile is one whom
// Kabar knows, even with no field set.
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
	if err := s.Redis.HSet(ctx, s.keys(user).profile(), fields...).Err(); err != nil {
		return fmt.Errorf("set profile: %w", err)
	}
	return nil
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
	Locale string // "id", "en", or "" when they did not choose
}

// SettingsCommand returns the command that reads a user's settings, to be read with
// ReadSettings after Batcher.Do.
func (s *Store) SettingsCommand(ctx context.Context, user int64) *Command {
	return NewCommand(ctx, "hmget", s.keys(user).profile(), "locale")
}

// ReadSettings reads the reply to SettingsCommand.
func ReadSettings(c *Command) (Settings, error) {
	fields, err := c.Slice()
	if err != nil || len(fields) != 1 {
		return Settings{}, fmt.Errorf("read settings: reply of %d fields: %w", len(fields), err)
	}
	var s Settings
	s.Locale, _ = fields[0].(string) // else nil: not set
	return s, nil
}

// Settings returns a user's settings.
func (s *Store) Settings(ctx context.Context, user int64) (Settings, error) {
	c := s.SettingsCommand(ctx, user)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	return ReadSettings(c)
}

func newProfile(fields map[string]string) Profile {
	text := func(name string) *string {
		if v, ok := fields[name]; ok {
			return &v
		}
		return nil
	}
	p := Profile{
		Name: text("name"), Username: text("username"), Avatar: text("avatar"),
		Locale: text("locale"), Timezone: text("timezone"),
	}
	if v, ok := fields["admin"]; ok {
		admin := v == "true"
		p.Admin = &admin
	}
	return p
}
