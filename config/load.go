package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	kyaml "github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"
)

// Load returns the defaults, overridden by the YAML file at path, overridden by the KABAR_
// variables in environ, which has the form of os.Environ(). An empty path means no file.
// The secret of a …_file key is read from that file.
//
// The error joins everything that is wrong: a file that cannot be read or parsed, unknown
// keys and variables, values of the wrong type, and all that Validate reports. The
// configuration is nil then.
//
// A variable replaces its key whole; a list is replaced, not added to, and an empty
// variable makes the key empty. Variables that a command takes for flags of its own must be
// left out of environ. What Kubernetes sets in every container for a Service named kabar
// (KABAR_SERVICE_HOST, KABAR_PORT_8080_TCP and the like) is ignored.
func Load(path string, environ []string) (*Config, error) {
	c, found, err := read(path, environ)
	if err != nil {
		return nil, err
	}
	found = append(found, c.problems().beyond(found)...)
	if len(found) > 0 {
		return nil, found.join()
	}
	return c, nil
}

// read is Load without Validate. After an error there is nothing to validate.
func read(path string, environ []string) (*Config, problems, error) {
	var p problems
	set := koanf.New(".")
	if path != "" {
		if err := set.Load(file.Provider(path), yamlFile{kyaml.Parser()}); err != nil {
			return nil, nil, fmt.Errorf("configuration file %s: %w", path, err)
		}
	}
	if err := override(&p, set, environ); err != nil {
		return nil, nil, fmt.Errorf("environment: %w", err)
	}

	raw := set.Raw()
	for _, key := range unknownKeys("", raw, reflect.TypeFor[Config]()) {
		if near := nearestKey(key); near == key { // redis.url as one word
			p.add(key, "must be nested, as a key of its section")
		} else {
			p.add(key, "unknown key; did you mean %s?", near)
		}
	}
	c := Default()
	wrong, err := decode(raw, c)
	if err != nil {
		return nil, nil, err
	}
	p = append(p, wrong...)
	readSecrets(&p, c)
	return c, p, nil
}

// yamlFile parses a file of one YAML document. It refuses further documents, which would
// otherwise be ignored silently.
type yamlFile struct{ *kyaml.YAML }

// Unmarshal implements koanf.Parser.
func (f yamlFile) Unmarshal(data []byte) (map[string]any, error) {
	documents := yaml.NewDecoder(strings.NewReader(string(data)))
	var document yaml.Node
	if err := documents.Decode(&document); err == io.EOF {
		return nil, nil // empty, or comments alone
	} else if err != nil {
		return nil, err
	}
	if root := document.Content[0]; root.Kind != yaml.MappingNode && root.Tag != "!!null" {
		return nil, errors.New("must be keys and their values, like listen: :8080")
	}
	if documents.Decode(new(yaml.Node)) != io.EOF {
		return nil, errors.New("must be one YAML document, without a --- between two")
	}
	return f.YAML.Unmarshal(data)
}
