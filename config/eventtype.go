package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// EventType is a type of event beside the built-in ones.
type EventType struct {
	Name    string `yaml:"name" doc:"the type's name, 1 to 32 of a-z 0-9 _, beginning with a letter; not a built-in one"`
	Lane    string `yaml:"lane" doc:"the lane it travels in: urgent, chat or bulk"`
	Message string `yaml:"message,omitempty" doc:"what the phone shows when an event brings no message"`
}

// preferences are the names of device preferences that are not event types.
var preferences = []string{event.AllPromos, "private"}

var typeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func validateTypes(p *problems, types []EventType) {
	builtIn := event.BuiltInTypes()
	names := make(map[string]int)
	for i, t := range types {
		key := fmt.Sprintf("types[%d]", i)
		p.matches(key+".name", t.Name, typeName, "1 to 32 of a-z 0-9 _ that begin with a letter")
		if slices.Contains(builtIn, t.Name) {
			p.add(key+".name", "must not be a built-in type, as %q is", t.Name)
		}
		if slices.Contains(preferences, t.Name) {
			p.add(key+".name", "must not be %q, which names a preference", t.Name)
		}
		if first, taken := names[t.Name]; taken {
			p.add(key+".name", "must differ from that of types[%d], %q", first, t.Name)
		} else {
			names[t.Name] = i
		}
		p.oneOf(key+".lane", t.Lane, laneNames()...)
	}
}

func laneNames() []string {
	names := make([]string, len(push.Lanes))
	for i, l := range push.Lanes {
		names[i] = l.String()
	}
	return names
}

// parseTypes reads the form that KABAR_TYPES has: the list as YAML, or JSON,
// because a text may hold any character that could separate its items.
func parseTypes(text string) (any, error) {
	list := []any{}
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("must be a list in YAML, like [{name: payout, lane: urgent}]")
	}
	return list, nil
}
