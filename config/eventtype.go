package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// EventType is a type of event beside the built-in ones, or the defaults of a built-in one.
type EventType struct {
	Name    string `yaml:"name" doc:"the type's name, 1 to 32 of a-z 0-9 _, beginning with a letter; a built-in one takes apps, channel, sound, interruption_level and link alone"`
	Lane    string `yaml:"lane,omitempty" doc:"the lane it travels in: urgent, chat or bulk"`
	Message string `yaml:"message,omitempty" doc:"what the phone shows when an event brings no message"`

	Apps []string `yaml:"apps,omitempty" doc:"apps that are pushed its events, unless an event says them in options.apps; all of them when absent"`

	Channel           string `yaml:"channel,omitempty" doc:"Android channel of its pushes, unless an event says one; the name of the lane when empty"`
	Sound             string `yaml:"sound,omitempty" doc:"sound of its pushes, unless an event says one: a name in the app, default or none"`
	InterruptionLevel string `yaml:"interruption_level,omitempty" doc:"interruption level on iOS, unless an event says one: passive, active, time-sensitive or critical"`
	Link              string `yaml:"link,omitempty" doc:"what its pushes open, unless an event says it: an https URL, or one of push.link_schemes, in which {id} and {product.id} stand for members of the details"`
}

// Defaults returns how pushes of the type are presented where an event does not say it.
func (t EventType) Defaults() event.Defaults {
	return event.Defaults{Channel: t.Channel, Sound: t.Sound, InterruptionLevel: t.InterruptionLevel, Link: t.Link}
}

// preferences are the names of device preferences that are not event types.
var preferences = []string{event.AllPromos, "private"}

var typeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func validateTypes(p *problems, types []EventType, apps, schemes []string) {
	builtIn := event.BuiltInTypes()
	names := make(map[string]int)
	for i, t := range types {
		key := fmt.Sprintf("types[%d]", i)
		p.matches(key+".name", t.Name, typeName, "1 to 32 of a-z 0-9 _ that begin with a letter")
		isBuiltIn := slices.Contains(builtIn, t.Name)
		if slices.Contains(preferences, t.Name) {
			p.add(key+".name", "must not be %q, which names a preference", t.Name)
		}
		if t.Name == push.TypeDismiss {
			p.add(key+".name", "must not be %q, the type of pushes that say what was read", t.Name)
		}
		if first, taken := names[t.Name]; taken {
			p.add(key+".name", "must differ from that of types[%d], %q", first, t.Name)
		} else {
			names[t.Name] = i
		}
		switch {
		case !isBuiltIn:
			p.oneOf(key+".lane", t.Lane, laneNames()...)
		case t.Lane != "":
			p.add(key+".lane", "must not be set: %q is a built-in type", t.Name)
		case t.Message != "":
			p.add(key+".message", "must not be set: %q is a built-in type, whose words are in texts", t.Name)
		}
		if t.Apps != nil && len(t.Apps) == 0 {
			p.add(key+".apps", "must name an app, or be left out to reach all of them")
		}
		for j, app := range t.Apps {
			p.oneOf(fmt.Sprintf("%s.apps[%d]", key, j), app, append([]string{push.DefaultApp}, apps...)...)
		}
		t.validateDefaults(p, key, schemes)
	}
}

func (t EventType) validateDefaults(p *problems, key string, schemes []string) {
	var v event.Validator
	t.Defaults().Validate(&v, schemes)
	var invalid *event.InvalidError
	if !errors.As(v.Err(), &invalid) {
		return
	}
	for _, field := range slices.Sorted(maps.Keys(invalid.Fields)) {
		p.add(key+"."+field, "%s", invalid.Fields[field])
	}
}

func laneNames() []string {
	names := make([]string, len(push.Lanes))
	for i, l := range push.Lanes {
		names[i] = l.String()
	}
	return names
}

// parseList reads the form that KABAR_TYPES and KABAR_APPS have: the list as YAML, or JSON,
// because a text may hold any character that could separate its items.
func parseList(text, like string) (any, error) {
	list := []any{}
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		return nil, errors.New("must be a list in YAML, like " + like)
	}
	return list, nil
}
