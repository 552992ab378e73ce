package text

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
)

// fileType ends the names of message files.
const fileType = ".yaml"

func parse(raw []byte) ([]*i18n.Message, error) {
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil, nil
	}
	return i18n.ParseMessageBytes(raw, yaml.Unmarshal)
}

// override replaces texts by those of an operator's folder.
func (c *Catalogue) override(folder string, bundles map[Locale]*i18n.Bundle) error {
	files, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("texts: %w", err)
	}
	var faults []error
	for _, f := range files {
		if f.IsDir() || strings.HasPrefix(f.Name(), ".") { // Kubernetes keeps its own beside mounted files
			continue
		}
		path := filepath.Join(folder, f.Name())
		l := spoken(Locale(strings.TrimSuffix(f.Name(), fileType)))
		if l == "" || filepath.Ext(f.Name()) != fileType {
			faults = append(faults, fmt.Errorf("texts: %s: must be id%s or en%s", path, fileType, fileType))
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("texts: %w", err))
			continue
		}
		messages, err := parse(raw)
		if err != nil {
			faults = append(faults, fmt.Errorf("texts: %s: %w", path, err))
			continue
		}
		for _, m := range messages {
			if err := c.replace(bundles[l], l, m); err != nil {
				faults = append(faults, fmt.Errorf("texts: %s: %s: %w", path, m.ID, err))
			}
		}
	}
	return errors.Join(faults...)
}

// replace replaces a built-in text by an operator's, and executes it.
func (c *Catalogue) replace(b *i18n.Bundle, l Locale, m *i18n.Message) error {
	if !slices.Contains(c.ids, m.ID) {
		return errors.New("there is no such text")
	}
	allowed, err := c.fields(l, m.ID)
	if err != nil {
		return err
	}
	if err := b.AddMessages(language.Make(string(l)), m); err != nil {
		return err
	}
	used, err := c.fields(l, m.ID)
	if err != nil {
		return err
	}
	for _, field := range used {
		if !slices.Contains(allowed, field) {
			return fmt.Errorf("{{.%s}} is not among what this text is given: %s", field, strings.Join(allowed, ", "))
		}
	}
	return nil
}

// fields returns the fields of Args that a text uses, in any plural form. It
// executes every form, so that a template that cannot be executed is an error.
func (c *Catalogue) fields(l Locale, id string) ([]string, error) {
	var used []string
	for _, n := range []int{0, 1, 2, 5} { // every plural form of our languages
		base := Args{Count: n}
		plain, err := c.execute(l, id, base)
		if err != nil {
			return nil, err
		}
		v := reflect.ValueOf(&base).Elem()
		for i := range v.NumField() {
			field, name := v.Field(i), v.Type().Field(i).Name
			if field.Kind() != reflect.String {
				if strings.Contains(plain, fmt.Sprint(n)) {
					used = append(used, name)
				}
				continue
			}
			field.SetString("somebody")
			with, err := c.execute(l, id, base)
			if err != nil {
				return nil, err
			}
			if with != plain {
				used = append(used, name)
			}
			field.SetString("")
		}
	}
	slices.Sort(used)
	return slices.Compact(used), nil
}
