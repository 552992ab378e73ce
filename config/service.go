package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The scopes of services.
const (
	ScopeEvents     = "events"     // publish events
	ScopeUsers      = "users"      // set and erase users
	ScopeBroadcasts = "broadcasts" // start and steer broadcasts
)

// Service is a backend that may call Kabar with a key of its own.
type Service struct {
	Name      string   `yaml:"name" doc:"the service's name, 1 to 64 of a-z 0-9 _ -; event ids are unique within it"`
	KeySHA256 string   `yaml:"key_sha256" doc:"SHA-256 of the service's key, 64 hex digits"`
	Scopes    []string `yaml:"scopes,omitempty" doc:"what it may do: events, users, broadcasts; all of them when absent"`
	Strict    bool     `yaml:"strict,omitempty" doc:"refuse its events that have unknown members, instead of accepting them with warnings"`
	Webhook   Webhook  `yaml:"webhook,omitempty"`
}

// Allows reports whether the service has the scope.
func (s Service) Allows(scope string) bool {
	return s.Scopes == nil || slices.Contains(s.Scopes, scope)
}

// KeySum returns KeySHA256 as crypto/sha256 returns it, or zeros where Validate
// refuses it.
func (s Service) KeySum() (sum [sha256.Size]byte) {
	if raw, err := hex.DecodeString(s.KeySHA256); err == nil && len(raw) == len(sum) {
		copy(sum[:], raw)
	}
	return sum
}

var serviceName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

func validateServices(p *problems, services []Service, allowPrivate bool) {
	names := make(map[string]int)
	keys := make(map[[sha256.Size]byte]int)
	for i, s := range services {
		key := fmt.Sprintf("services[%d]", i)
		p.matches(key+".name", s.Name, serviceName, "1 to 64 of a-z 0-9 _ -")
		if first, taken := names[s.Name]; taken {
			p.add(key+".name", "must differ from that of services[%d], %q", first, s.Name)
		} else {
			names[s.Name] = i
		}

		sum := s.KeySum()
		first, taken := keys[sum]
		switch {
		case sum == [sha256.Size]byte{}:
			p.add(key+".key_sha256", "must be a SHA-256 in 64 hex digits, as sha256sum prints it")
		case sum == sha256.Sum256(nil):
			p.add(key+".key_sha256", "must not be the SHA-256 of an empty key")
		case taken:
			p.add(key+".key_sha256", "must differ from that of services[%d]: each service has a key of its own", first)
		default:
			keys[sum] = i
		}

		if s.Scopes != nil && len(s.Scopes) == 0 {
			p.add(key+".scopes", "must name a scope, or be left out to allow everything")
		}
		for _, scope := range s.Scopes {
			p.oneOf(key+".scopes", scope, ScopeEvents, ScopeUsers, ScopeBroadcasts)
		}
		s.Webhook.validate(p, key+".webhook", allowPrivate)
	}
}

// parseServices converts the form that KABAR_SERVICES has, name:sha256[:scope+scope],…,
// into that of a list in a file.
func parseServices(text string) (any, error) {
	list := []any{}
	if strings.TrimSpace(text) == "" {
		return list, nil
	}
	for i, item := range strings.Split(text, ",") {
		parts := strings.Split(strings.TrimSpace(item), ":")
		if len(parts) < 2 || len(parts) > 3 {
			return nil, fmt.Errorf("service %d must be written name:sha256 or name:sha256:scope+scope", i+1)
		}
		service := map[string]any{"name": parts[0], "key_sha256": parts[1]}
		if len(parts) == 3 {
			service["scopes"] = strings.Split(parts[2], "+")
		}
		list = append(list, service)
	}
	return list, nil
}
