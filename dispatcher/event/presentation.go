package event

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Bounds of a presentation. All of it together leaves room for texts in a payload of 4 KiB.
const (
	maxURL      = 1024 // bytes of an image or a link
	maxSubtitle = 200  // characters
	maxTargetID = 128  // characters
)

var (
	soundName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	appName   = regexp.MustCompile(`^[\x21-\x7e]{1,64}$`) // of a channel or category in the app
	labelName = regexp.MustCompile(`^[a-zA-Z0-9\-_.~%]{1,50}$`)

	visibilities       = []string{"PRIVATE", "PUBLIC", "SECRET"}
	priorities         = []string{"PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"}
	interruptionLevels = []string{"passive", "active", "time-sensitive", "critical"}
)

// A check returns what is wrong with a text, or "".
type check func(s string) (problem string)

func matches(pattern *regexp.Regexp, problem string) check {
	return func(s string) string {
		if pattern.MatchString(s) {
			return ""
		}
		return problem
	}
}

func oneOf(values []string) check {
	return func(s string) string {
		if slices.Contains(values, s) {
			return ""
		}
		return "must be one of " + strings.Join(values, ", ")
	}
}

var (
	checkSound   = matches(soundName, `must be "none", "default" or the name of a sound in the app: 1 to 64 of A-Z a-z 0-9 . _ -`)
	checkAppName = matches(appName, "must be 1 to 64 visible ASCII characters without spaces")
	checkLabel   = matches(labelName, "must be 1 to 50 of A-Z a-z 0-9 - _ . ~ %")
	checkLevel   = oneOf(interruptionLevels)
)

// checkURL returns a check for an absolute URL with https or one of the schemes.
func checkURL(schemes []string) check {
	return func(s string) string {
		if len(s) > maxURL {
			return fmt.Sprintf("must have at most %d bytes", maxURL)
		}
		u, err := url.Parse(s)
		isASCII := !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"<>\^{|}`+"`", r) })
		switch {
		case err != nil || !isASCII:
			return "must be a URL; other characters than those of URLs are escaped with %"
		case u.Scheme == "https" && u.Hostname() != "" && u.User == nil:
			return ""
		case u.Scheme != "https" && slices.Contains(schemes, u.Scheme) && len(s) > len(u.Scheme)+len(":"):
			return ""
		}
		return "must begin with " + strings.Join(append([]string{"https://"}, withColon(schemes)...), " or ")
	}
}

func withColon(schemes []string) []string {
	all := make([]string, len(schemes))
	for i, s := range schemes {
		all[i] = s + ":"
	}
	return all
}

// named returns a string that passes a check, or "" when there is none.
func (v *Validator) named(field string, value jsontext.Value, check check) string {
	s, ok := v.str(field, value)
	if !ok {
		return ""
	}
	if problem := check(s); problem != "" {
		v.Wrong(field, problem)
		return ""
	}
	return s
}

// presentation returns image, link and sound.
func (p *Parser) presentation(v *Validator, image, link, sound jsontext.Value) push.Presentation {
	return push.Presentation{
		Image: v.named("image", image, checkURL(nil)),
		Link:  v.named("link", link, checkURL(p.schemes)),
		Sound: v.named("sound", sound, checkSound),
	}
}

// presentationOption reads options.NAME if it is a part of the presentation, and reports
// whether it is. It adds unknown members to unknown.
func (v *Validator) presentationOption(p *push.Presentation, name string, value jsontext.Value, unknown *[]string) bool {
	var each func(path, name string, value jsontext.Value) (known bool)
	switch name {
	case "analytics_label":
		p.Label = v.named("options.analytics_label", value, checkLabel)
		return true
	case "android":
		each = func(path, name string, value jsontext.Value) bool { return v.android(&p.Android, path, name, value) }
	case "apns":
		each = func(path, name string, value jsontext.Value) bool { return v.apns(&p.APNs, path, name, value) }
	default:
		return false
	}
	if jsonscan.Absent(value) {
		return true
	}
	path := "options." + name
	err := jsonscan.EachMember(value, func(m jsonscan.Member) {
		if name := string(m.Name()); !each(path+"."+name, name, m.Value) {
			*unknown = noteUnknown(*unknown, path+".", name)
		}
	})
	if err != nil {
		v.Wrong(path, "must be an object")
	}
	return true
}

// android reads a member of options.android, and reports whether there is such a member.
func (v *Validator) android(a *push.Android, path, name string, value jsontext.Value) bool {
	switch name {
	case "channel_id":
		a.Channel = v.named(path, value, checkAppName)
	case "visibility":
		a.Visibility = v.named(path, value, oneOf(visibilities))
	case "notification_priority":
		a.Priority = v.named(path, value, oneOf(priorities))
	case "direct_boot_ok":
		a.DirectBootOK = v.boolean(path, value, false)
	default:
		return false
	}
	return true
}

// apns reads a member of options.apns, and reports whether there is such a member.
func (v *Validator) apns(a *push.APNs, path, name string, value jsontext.Value) bool {
	switch name {
	case "interruption_level":
		a.InterruptionLevel = v.named(path, value, checkLevel)
	case "relevance_score":
		a.RelevanceScore = v.score(path, value)
	case "category":
		a.Category = v.named(path, value, checkAppName)
	case "subtitle":
		a.Subtitle = v.text(path, value, maxSubtitle)
	case "target_content_id":
		a.TargetContentID = v.text(path, value, maxTargetID)
	default:
		return false
	}
	return true
}

// boolean returns a boolean, or what it is when it is absent.
func (v *Validator) boolean(field string, value jsontext.Value, absent bool) bool {
	switch {
	case jsonscan.Absent(value):
		return absent
	case value.Kind() != 't' && value.Kind() != 'f':
		v.Wrong(field, "must be true or false")
		return absent
	}
	return value.Kind() == 't'
}

// score returns a number from 0 to 1, 0 when there is none.
func (v *Validator) score(field string, value jsontext.Value) float64 {
	if jsonscan.Absent(value) {
		return 0
	}
	s, _ := jsonscan.Scalar(value)
	score, err := strconv.ParseFloat(s, 64)
	if err != nil || !(0 <= score && score <= 1) {
		v.Wrong(field, "must be a number from 0 to 1")
		return 0
	}
	return score
}

// FillDetails returns details, a JSON object, in which image and link of a presentation stand
// as image_url and link_to, the documented members, unless they have those.
func FillDetails(details []byte, p push.Presentation) []byte {
	if p.Image == "" && p.Link == "" || len(details) == 0 {
		return details
	}
	missing := []struct{ name, value string }{{"image_url", p.Image}, {"link_to", p.Link}}
	out := make([]byte, 0, len(details)+len(p.Image)+len(p.Link)+32)
	out = append(out, '{')
	_ = jsonscan.EachMember(details, func(m jsonscan.Member) { // it is an object
		value := []byte(m.Value)
		for i, f := range missing {
			if string(m.Name()) != f.name {
				continue
			}
			if f.value != "" && (jsonscan.Absent(m.Value) || string(m.Value) == `""`) {
				value = jsonscan.AppendString(nil, f.value)
			}
			missing[i].value = ""
		}
		out = append(append(append(append(out, m.Key...), ':'), value...), ',')
	})
	for _, f := range missing {
		if f.value != "" {
			out = append(append(jsonscan.AppendString(out, f.name), ':'), jsonscan.AppendString(nil, f.value)...)
			out = append(out, ',')
		}
	}
	return closeObject(out)
}
