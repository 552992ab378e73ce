package inbox

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
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
	users, member := s.parts.Listing(user)
	pipe := s.Redis.TxPipeline()
	pipe.ZAdd(ctx, users, redis.Z{Member: member})
	pipe.HSet(ctx, s.keys(user).profile(), fields...)
	if _, err := pipe.Exec(ctx); err != nil {
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
