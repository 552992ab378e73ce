package inbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
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
	users, member := s.parts.Listing(user)
	args := []any{user, member, "known", "1"}
	for name, value := range map[string]*string{
		"name": p.Name, "username": p.Username, "avatar": p.Avatar, "locale": p.Locale, "timezone": p.Timezone,
	} {
		if value != nil {
			args = append(args, name, *value)
		}
	}
	if p.Admin != nil {
		args = append(args, "admin", strconv.FormatBool(*p.Admin))
	}
	k := s.keys(user)
	c := setProfileScript.Command(ctx, []string{k.meta(), k.profile(), users, s.erasures(s.parts.OfUser(user))}, args...)
	if err := s.Batcher.Do(ctx, c); err != nil {
		return fmt.Errorf("set profile: %w", err)
	}
	if n, err := c.Int(); err != nil || n == 0 {
		return errors.Join(ErrErasing, err)
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
