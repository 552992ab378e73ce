package event

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// An InvalidError has the problem of each field of an event, a broadcast or a message.
type InvalidError struct{ Fields map[string]string }

// Error lists the fields in order. It repeats nothing of what was sent.
func (e *InvalidError) Error() string {
	var parts []string
	for field, problem := range e.Fields {
		parts = append(parts, field+" "+problem)
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

func invalid(field, problem string) *InvalidError {
	return &InvalidError{Fields: map[string]string{field: problem}}
}

// A Validator reads fields of JSON and collects their problems. It is used by one
// goroutine.
type Validator struct{ fields map[string]string }

// maxProblems is how many fields an error names: a receiver list may be wrong throughout.
const maxProblems = MaxReceivers

// Wrong notes a problem of a field. The problem continues a sentence that begins with
// the field's name. The first problem of a field counts, and the first 1,000 fields.
func (v *Validator) Wrong(field, problem string) {
	if v.fields == nil {
		v.fields = make(map[string]string)
	}
	if _, noted := v.fields[field]; !noted && len(v.fields) < maxProblems {
		v.fields[field] = problem
	}
}

// Has reports whether a field is wrong.
func (v *Validator) Has(field string) bool { return v.fields[field] != "" }

// Err returns an *InvalidError with the problems, or nil.
func (v *Validator) Err() error {
	if len(v.fields) == 0 {
		return nil
	}
	return &InvalidError{Fields: v.fields}
}

// id returns the event's id, or "" when there is none.
func (v *Validator) id(value jsontext.Value) string {
	if jsonscan.Absent(value) {
		return ""
	}
	id, ok := jsonscan.Scalar(value)
	switch {
	case !ok:
		v.Wrong("id", "must be a string")
	case id == "" || len(id) > maxIDLen:
		v.Wrong("id", fmt.Sprintf("must have 1 to %d bytes", maxIDLen))
	case !Printable(id) || strings.ContainsFunc(id, unicode.IsSpace):
		v.Wrong("id", "must be printable, without spaces")
	}
	return id
}

// str returns a string, and whether there is one.
func (v *Validator) str(field string, value jsontext.Value) (s string, ok bool) {
	if jsonscan.Absent(value) {
		return "", false
	}
	if value.Kind() != '"' {
		v.Wrong(field, "must be a string")
		return "", false
	}
	s, _ = jsonscan.Scalar(value)
	return s, true
}

// text returns a string of at most the given number of characters, or "".
func (v *Validator) text(field string, value jsontext.Value, maxLen int) string {
	s, ok := v.str(field, value)
	switch {
	case !ok:
	case utf8.RuneCountInString(s) > maxLen:
		v.Wrong(field, fmt.Sprintf("must have at most %d characters", maxLen))
	case !Printable(s):
		v.Wrong(field, "must not contain control characters")
	}
	return s
}

// receivers returns the users of receiver_id and receiver_ids, each once.
func (v *Validator) receivers(one, list jsontext.Value) []int64 {
	var many []jsontext.Value
	if !jsonscan.Absent(list) {
		if list.Kind() != '[' {
			v.Wrong("receiver_ids", "must be an array")
			return nil
		}
		jsonscan.EachElement(list, func(value jsontext.Value) { many = append(many, value) })
	}
	switch {
	case !jsonscan.Absent(one) && len(many) > 0:
		v.Wrong("receiver_ids", "cannot be given beside receiver_id")
		return nil
	case jsonscan.Absent(one) && jsonscan.Absent(list):
		v.Wrong("receiver_id", "is required")
		return nil
	case !jsonscan.Absent(one):
		if user, ok := v.User("receiver_id", one); ok {
			return []int64{user}
		}
		return nil
	case len(many) == 0 || len(many) > MaxReceivers:
		v.Wrong("receiver_ids", fmt.Sprintf("must name 1 to %d users", MaxReceivers))
		return nil
	}
	return v.users("receiver_ids", many)
}

// users returns the users of a list, each once.
func (v *Validator) users(field string, list []jsontext.Value) []int64 {
	users := make([]int64, 0, len(list))
	seen := make(map[int64]bool, len(list))
	for i, value := range list {
		user, ok := v.User(fmt.Sprintf("%s[%d]", field, i), value)
		if ok && !seen[user] {
			seen[user] = true
			users = append(users, user)
		}
	}
	return users
}

// User returns a user id.
func (v *Validator) User(field string, value jsontext.Value) (id int64, ok bool) {
	s, _ := jsonscan.Scalar(value)
	user, err := model.ParseUser(s)
	if err != nil {
		v.Wrong(field, err.Error())
	}
	return user, err == nil
}

// Time returns an RFC 3339 time; ok is false when there is none, or none that can be
// read.
func (v *Validator) Time(field string, value jsontext.Value) (t time.Time, ok bool) {
	if jsonscan.Absent(value) {
		return time.Time{}, false
	}
	s, _ := jsonscan.Scalar(value)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		v.Wrong(field, "must be a time as in RFC 3339, such as 2014-01-23T13:48:51+07:00")
	}
	return t, err == nil
}

// eventTime returns when an event happened, or the zero time.
func (v *Validator) eventTime(field string, value jsontext.Value, now time.Time) time.Time {
	t, ok := v.Time(field, value)
	switch {
	case !ok:
		return time.Time{}
	case t.Year() < 1970:
		v.Wrong(field, "lies before 1970")
	case t.After(now.Add(maxAhead)):
		v.Wrong(field, "lies more than a day ahead")
	}
	return t
}

// options returns the time to live, 0 when there is none, and whether to push. It sets At, reads
// what belongs to the event's presentation, and notes unknown options with the event.
func (v *Validator) options(e *Event, value jsontext.Value, now time.Time) (ttl time.Duration, push bool) {
	push = true
	if jsonscan.Absent(value) {
		return 0, push
	}
	err := jsonscan.EachMember(value, func(m jsonscan.Member) {
		switch name := string(m.Name()); {
		case name == "ttl":
			ttl = v.TTL("options.ttl", m.Value)
		case name == "at":
			e.At = v.schedule("options.at", m.Value, now)
		case name == "push":
			push = v.boolean("options.push", m.Value, true)
		case name == "apps":
			e.Apps = v.apps(m.Value)
		case !v.presentationOption(&e.presentation, name, m.Value, &e.Unknown):
			e.Unknown = noteUnknown(e.Unknown, "options.", name)
		}
	})
	if err != nil {
		v.Wrong("options", "must be an object")
	}
	return ttl, push
}

// schedule returns when an event is published, or the zero time when that is now.
func (v *Validator) schedule(field string, value jsontext.Value, now time.Time) time.Time {
	at, ok := v.Time(field, value)
	switch {
	case !ok || !at.After(now):
		return time.Time{}
	case at.After(now.Add(maxSchedule)):
		v.Wrong(field, "lies more than 30 days ahead")
	}
	return at
}

// TTL returns a duration in Go's notation, in days ("28d"), or as a number of seconds;
// 0 when there is none.
func (v *Validator) TTL(field string, value jsontext.Value) time.Duration {
	if jsonscan.Absent(value) {
		return 0
	}
	s, _ := jsonscan.Scalar(value)
	ttl, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		ttl = time.Duration(min(n, 1000)) * day
	}
	if seconds, e := strconv.ParseInt(s, 10, 32); e == nil {
		ttl, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || ttl < time.Second || ttl > MaxTTL {
		v.Wrong(field, `must be a duration from "1s" to "28d"`)
	}
	return ttl
}

// cart returns the number of items of a cart event.
func (v *Validator) cart(value jsontext.Value) *int {
	s, _ := jsonscan.Scalar(value)
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxCart {
		v.Wrong("details.cart_items", "must be a whole number, 0 or more")
	}
	return &n
}

// Printable reports whether s is UTF-8 without control characters other than line breaks
// and tabs.
func Printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

// Truncate returns the first characters of a text.
func Truncate(s string, maxLen int) string {
	if len(s) <= maxLen {
		return s
	}
	if runes := []rune(s); len(runes) > maxLen {
		return string(runes[:maxLen])
	}
	return s
}
