package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
)

// decode sets the fields of c that raw names. Types are strict: YAML reads an unquoted
// 12E4567890 as a number, and its original text is lost by then. Only strings are converted
// to other types, because variables are strings.
func decode(raw map[string]any, c *Config) (problems, error) {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:     c,
		TagName:    "yaml",
		MatchName:  func(key, field string) bool { return key == field },
		DecodeHook: convert,
	})
	if err != nil {
		return nil, fmt.Errorf("decode configuration: %w", err)
	}
	return decodeProblems(decoder.Decode(raw)), nil
}

// convert checks, and for text converts, one value before it is stored in a
// field. Its errors never repeat the value: the field may be a secret.
func convert(from, to reflect.Value) (any, error) {
	value := from.Interface()
	text, isText := value.(string)
	if to.Type() == reflect.TypeFor[Duration]() {
		return parseDuration(fmt.Sprint(value)) // 0 needs no unit, so it may be a number
	}
	switch to.Kind() {
	case reflect.String:
		if !isText {
			return nil, errors.New("must be text: put it in quotes")
		}
	case reflect.Int, reflect.Int64:
		if n, err := strconv.ParseInt(text, 10, 64); isText && err == nil {
			return n, nil
		}
		if !from.CanInt() {
			return nil, errors.New("must be a whole number")
		}
	case reflect.Bool:
		if b, err := strconv.ParseBool(text); isText && err == nil {
			return b, nil
		}
		if from.Kind() != reflect.Bool {
			return nil, errors.New("must be true or false")
		}
	case reflect.Slice:
		if isText && to.Type().Elem().Kind() != reflect.Struct {
			return splitList(text), nil
		}
		if from.Kind() != reflect.Slice {
			return nil, errors.New("must be a list")
		}
	case reflect.Struct:
		if from.Kind() != reflect.Map {
			return nil, errors.New("must be a section with keys of its own")
		}
	}
	return value, nil
}

func splitList(text string) []string {
	list := []string{}
	if strings.TrimSpace(text) == "" {
		return list
	}
	for item := range strings.SplitSeq(text, ",") {
		list = append(list, strings.TrimSpace(item))
	}
	return list
}

// decodeProblems takes the decoder's tree of errors apart, one problem a key.
func decodeProblems(err error) problems {
	switch e := err.(type) {
	case nil:
		return nil
	case *mapstructure.DecodeError:
		return problems{{e.Name(), e.Unwrap()}}
	case interface{ Unwrap() []error }:
		var all problems
		for _, part := range e.Unwrap() {
			all = append(all, decodeProblems(part)...)
		}
		return all
	case interface{ Unwrap() error }: // an error that wraps all of them
		return decodeProblems(e.Unwrap())
	default:
		return problems{{"configuration", err}}
	}
}
