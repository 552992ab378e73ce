package event

import (
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// apps returns the names of options.apps; nil when there are none.
func (v *Validator) apps(value jsontext.Value) []string {
	const field = "options.apps"
	if jsonscan.Absent(value) {
		return nil
	}
	if value.Kind() != '[' {
		v.Wrong(field, "must be an array of names")
		return nil
	}
	var names []string
	jsonscan.EachElement(value, func(value jsontext.Value) {
		name, _ := jsonscan.Scalar(value)
		if value.Kind() != '"' {
			name = "" // which no app has
		}
		names = append(names, name)
	})
	if len(names) == 0 {
		v.Wrong(field, "must name an app, or be left out to reach all of them")
	}
	return names
}

// checkApps notes the names of options.apps that are no apps of this gateway.
func (p *Parser) checkApps(v *Validator, names []string) {
	for i, name := range names {
		if name != push.DefaultApp && !slices.Contains(p.apps, name) {
			v.Wrong(fmt.Sprintf("options.apps[%d]", i), "is not an app of this gateway")
			return // one is enough, of however many
		}
	}
}
