package config

import (
	"regexp"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// injected matches the variables that Kubernetes, or a Docker link, sets for a
// Service whose name begins with "kabar". Their PORT is a URL, not a number.
var injected = regexp.MustCompile(`^KABAR_(\w+_)?(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=|PORT=\w+://)`)

// override applies the variables over the values of the file. A secret can be given by
// itself or by the name of a file that holds it: a variable for either overrides both.
func override(p *problems, set *koanf.Koanf, environ []string) error {
	variables := koanf.New(".")
	if err := variables.Load(env.Provider(".", env.Opt{
		Prefix:        envPrefix,
		TransformFunc: transform(p),
		EnvironFunc:   func() []string { return environ },
	}), nil); err != nil {
		return err
	}
	for _, s := range secrets(new(Config)) {
		if variables.String(s.key) != "" || variables.String(s.key+"_file") != "" {
			set.Delete(s.key)
			set.Delete(s.key + "_file")
		}
	}
	if err := set.Merge(variables); err != nil {
		return err
	}
	for _, s := range secrets(new(Config)) {
		if set.String(s.key) != "" && set.String(s.key+"_file") != "" {
			p.add(s.key, "must not be set together with %s_file", s.key)
		}
	}
	return nil
}

// transform returns a function that turns a variable into the key it sets and
// its value, or into no key where there is a problem or nothing to set.
func transform(p *problems) func(name, value string) (string, any) {
	keys := make(map[string]string)
	for _, key := range Keys() {
		if key.Env != "" {
			keys[key.Env] = key.Name
		}
	}
	return func(name, value string) (string, any) {
		key, known := keys[name]
		if !known {
			if !injected.MatchString(name + "=" + value) {
				p.add(name, "unknown variable; did you mean %s?", nearestVariable(name))
			}
			return "", nil
		}
		parsed, err := parseVariable(key, value)
		if err != nil {
			p.add(name, "%w", err)
			return "", nil
		}
		return key, parsed
	}
}

// parseVariable converts a variable that holds a list of structs into the form of a file.
// All other values are left to the decoder, which knows the types.
func parseVariable(key, value string) (any, error) {
	switch key {
	case "services":
		return parseServices(value)
	case "types":
		return parseList(value, "[{name: payout, lane: urgent}]")
	case "apps":
		return parseList(value, "[{name: seller, fcm: {project_id: seller-1}}]")
	}
	return value, nil
}
