package event

import (
	"net/url"
	"strings"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// Defaults are how pushes of a type are presented where an event does not say it.
type Defaults struct {
	Channel           string // Android's channel; the lane's name when empty
	Sound             string
	InterruptionLevel string // iOS
	// Link is a template: {NAME} stands for a member of the details, {NAME.NAME} for one of
	// an object in them.
	Link string
}

// Validate notes what is wrong with v, by the names channel, sound, interruption_level and
// link. Links are https or of the schemes.
func (d Defaults) Validate(v *Validator, schemes []string) {
	for _, f := range []struct {
		name, value string
		check       check
	}{
		{"channel", d.Channel, checkAppName},
		{"sound", d.Sound, checkSound},
		{"interruption_level", d.InterruptionLevel, checkLevel},
		{"link", d.Link, checkTemplate(schemes)},
	} {
		if f.value == "" {
			continue
		}
		if problem := f.check(f.value); problem != "" {
			v.Wrong(f.name, problem)
		}
	}
}

// checkTemplate returns a check for a link whose path, query or fragment has placeholders.
func checkTemplate(schemes []string) check {
	return func(template string) string {
		valid := strings.Count(template, "{") == strings.Count(template, "}")
		fill := func(with string) string {
			link, _ := fillTemplate(template, func(name string) string {
				valid = valid && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_.") == ""
				return with
			})
			return link
		}
		one, other := fill("a"), fill("b")
		if problem := checkURL(schemes)(one); problem != "" {
			return problem
		}
		u, err := url.Parse(one)
		v, otherErr := url.Parse(other)
		switch {
		case err != nil || otherErr != nil || u.Scheme != v.Scheme || u.Scheme == "https" && u.Host != v.Host:
			return "must have no placeholder before its path"
		case !valid:
			return "has a placeholder that is not the name of a member in braces, such as {id} or {product.id}"
		}
		return ""
	}
}

// fillTemplate replaces the placeholders of a template by what value returns for their
// names, escaped. It is false when there is no value for one, or none that is safe in a path.
func fillTemplate(template string, value func(name string) string) (link string, ok bool) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		name, after, _ := strings.Cut(rest, "}")
		filling := value(name)
		if strings.Trim(filling, ".") == "" { // "..", too, which leaves the folder
			return "", false
		}
		out.WriteString(strings.ReplaceAll(url.QueryEscape(filling), "+", "%20"))
		template = after
	}
}

// LinkTo returns the default link of an event with details, a JSON object, or "". id is the
// value of {id} when the details themselves have no such member.
func (d Defaults) LinkTo(id string, details []byte) string {
	if d.Link == "" {
		return ""
	}
	link, ok := fillTemplate(d.Link, func(name string) string {
		value := scalarAt(details, name)
		if value == "" && name == "id" {
			return id
		}
		return value
	})
	if !ok || len(link) > maxURL {
		return ""
	}
	return link
}

// scalarAt returns the string or number at a path such as "product.id", or "".
func scalarAt(object []byte, path string) (value string) {
	name, rest, nested := strings.Cut(path, ".")
	_ = jsonscan.EachMember(object, func(m jsonscan.Member) { // what is no object has no such member
		switch {
		case string(m.Name()) != name:
		case nested:
			value = scalarAt(m.Value, rest)
		default:
			value, _ = jsonscan.Scalar(m.Value)
		}
	})
	return value
}
