package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Key describes one key of the configuration.
type Key struct {
	Name    string // in the file, like redis.url; of a list's items, like services[].name
	Env     string // the variable that overrides it; none for those of a list's items
	Default string // the default, as it is written in a file; a list as in the variable
	Doc     string // purpose, bounds and unit
}

const envPrefix = "KABAR_"

// Keys returns every key there is, in the order of the sections.
func Keys() []Key { return appendKeys(nil, "", reflect.ValueOf(*Default())) }

func appendKeys(keys []Key, section string, v reflect.Value) []Key {
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		key := Key{Name: join(section, yamlName(field)), Doc: field.Tag.Get("doc")}
		if value.Kind() == reflect.Struct {
			keys = appendKeys(keys, key.Name, value)
			continue
		}
		if !strings.Contains(section, "[]") {
			key.Env = envPrefix + strings.ToUpper(strings.ReplaceAll(key.Name, ".", "_"))
			key.Default = defaultText(value)
		}
		keys = append(keys, key)
		if value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct {
			keys = appendKeys(keys, key.Name+"[]", reflect.Zero(value.Type().Elem()))
		}
	}
	return keys
}

func defaultText(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return ""
	}
	if list, ok := v.Interface().([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(v.Interface())
}

func yamlName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return name
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

// unknownKeys returns, sorted, the paths of the keys in raw, as a parser left it, for which
// the type t has no field.
func unknownKeys(path string, raw any, t reflect.Type) []string {
	var unknown []string
	switch raw := raw.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct {
			break // what stands there instead is for the decoder to refuse
		}
		fields := make(map[string]reflect.Type, t.NumField())
		for i := range t.NumField() {
			fields[yamlName(t.Field(i))] = t.Field(i).Type
		}
		for name, value := range raw {
			if field, ok := fields[name]; ok {
				unknown = append(unknown, unknownKeys(join(path, name), value, field)...)
			} else {
				unknown = append(unknown, join(path, name))
			}
		}
	case []any:
		if t.Kind() != reflect.Slice {
			break
		}
		for i, item := range raw {
			unknown = append(unknown, unknownKeys(fmt.Sprintf("%s[%d]", path, i), item, t.Elem())...)
		}
	}
	slices.Sort(unknown)
	return unknown
}

var itemIndex = regexp.MustCompile(`\[\d+\]`)

// nearestKey returns the key or the section that is spelled most like name.
func nearestKey(name string) string {
	var names []string
	for _, key := range Keys() {
		for i, c := range key.Name {
			if c == '.' {
				names = append(names, key.Name[:i])
			}
		}
		names = append(names, key.Name)
	}
	return nearest(itemIndex.ReplaceAllString(name, "[]"), names)
}

// nearestVariable returns the variable that is spelled most like name.
func nearestVariable(name string) string {
	var names []string
	for _, key := range Keys() {
		if key.Env != "" {
			names = append(names, key.Env)
		}
	}
	return nearest(name, names)
}

func nearest(name string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int {
		return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
	})
}
