package dispatcher

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// A checker reads the fields of an event and collects what is wrong with them.
type checker struct{ fields map[string]string }

func (c *checker) wrong(field, problem string) {
	if c.fields == nil {
		c.fields = make(map[string]string)
	}
	if _, told := c.fields[field]; !told {
		c.fields[field] = problem
	}
}

// id returns the event's id, or "" when there is none.
func (c *checker) id(v jsontext.Value) string {
	if jsonscan.Absent(v) {
		return ""
	}
	id, ok := jsonscan.Scalar(v)
	switch {
	case !ok:
		c.wrong("id", "must be a string")
	case id == "" || len(id) > maxIDLen:
		c.wrong("id", fmt.Sprintf("must have 1 to %d bytes", maxIDLen))
	case !jsonscan.Printable(id) || strings.ContainsFunc(id, unicode.IsSpace):
		c.wrong("id", "must be printable, without spaces")
	}
	return id
}

// text returns a string of at most the given number of characters, or "".
func (c *checker) text(field string, v jsontext.Value, most int) string {
	if jsonscan.Absent(v) {
		return ""
	}
	if v.Kind() != '"' {
		c.wrong(field, "must be a string")
		return ""
	}
	s, _ := jsonscan.Scalar(v)
	switch {
	case utf8.RuneCountInString(s) > most:
		c.wrong(field, fmt.Sprintf("must have at most %d characters", most))
	case !jsonscan.Printable(s):
		c.wrong(field, "must not contain control characters")
	}
	return s
}

// receivers returns the users of receiver_id and receiver_ids, each once.
func (c *checker) receivers(one, list jsontext.Value) []int64 {
	var many []jsontext.Value
	if !jsonscan.Absent(list) {
		if list.Kind() != '[' {
			c.wrong("receiver_ids", "must be an array")
			return nil
		}
		jsonscan.EachElement(list, func(v jsontext.Value) { many = append(many, v) })
	}
	switch {
	case !jsonscan.Absent(one) && len(many) > 0:
		c.wrong("receiver_ids", "cannot be given beside receiver_id")
		return nil
	case jsonscan.Absent(one) && jsonscan.Absent(list):
		c.wrong("receiver_id", "is required")
		return nil
	case !jsonscan.Absent(one):
		if user, ok := c.user("receiver_id", one); ok {
			return []int64{user}
		}
		return nil
	case len(many) == 0 || len(many) > MaxReceivers:
		c.wrong("receiver_ids", fmt.Sprintf("must name 1 to %d users", MaxReceivers))
		return nil
	}
	users := make([]int64, 0, len(many))
	seen := make(map[int64]bool, len(many))
	for i, v := range many {
		user, ok := c.user(fmt.Sprintf("receiver_ids[%d]", i), v)
		if ok && !seen[user] {
			seen[user] = true
			users = append(users, user)
		}
	}
	return users
}

func (c *checker) user(field string, v jsontext.Value) (int64, bool) {
	s, _ := jsonscan.Scalar(v)
	user, err := ParseUser(s)
	if err != nil {
		c.wrong(field, err.Error())
	}
	return user, err == nil
}

// ParseUser reads a user id: a canonical positive decimal, so that a user has one
// spelling ("066" is refused).
func ParseUser(s string) (int64, error) {
	user, err := strconv.ParseInt(s, 10, 64)
	if err != nil || user <= 0 || strconv.FormatInt(user, 10) != s {
		return 0, fmt.Errorf("must be a user id: a positive whole number without leading zeros")
	}
	return user, nil
}

// time returns an RFC 3339 time, or the zero time when there is none.
func (c *checker) time(field string, v jsontext.Value, now time.Time) time.Time {
	if jsonscan.Absent(v) {
		return time.Time{}
	}
	s, _ := jsonscan.Scalar(v)
	at, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil:
		c.wrong(field, "must be a time as in RFC 3339, such as 2014-01-23T13:48:51+07:00")
	case at.Year() < 1970:
		c.wrong(field, "lies before 1970")
	case at.After(now.Add(maxAhead)):
		c.wrong(field, "lies more than a day ahead")
	}
	return at
}

// options returns the time to live, 0 when there is none, and whether to push.
func (c *checker) options(v jsontext.Value) (ttl time.Duration, push bool) {
	push = true
	if jsonscan.Absent(v) {
		return 0, push
	}
	err := jsonscan.EachMember(v, func(m jsonscan.Member) {
		switch string(m.Name()) {
		case "ttl":
			ttl = c.ttl("options.ttl", m.Value)
		case "push":
			if kind := m.Value.Kind(); kind != 't' && kind != 'f' && kind != 'n' {
				c.wrong("options.push", "must be true or false")
			} else {
				push = kind != 'f'
			}
		}
	})
	if err != nil {
		c.wrong("options", "must be an object")
	}
	return ttl, push
}

// ttl returns a duration in Go's notation or a number of seconds.
func (c *checker) ttl(field string, v jsontext.Value) time.Duration {
	if jsonscan.Absent(v) {
		return 0
	}
	s, _ := jsonscan.Scalar(v)
	ttl, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		ttl = time.Duration(min(n, 1000)) * day
	}
	if seconds, e := strconv.ParseInt(s, 10, 32); e == nil {
		ttl, err = time.Duration(seconds)*time.Second, nil
	}
	if err != nil || ttl < time.Second || ttl > maxTTL {
		c.wrong(field, `must be a duration from "1s" to "28d"`)
	}
	return ttl
}

// cart returns the number of items that a cart event says.
func (c *checker) cart(v jsontext.Value) *int {
	s, _ := jsonscan.Scalar(v)
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxCart {
		c.wrong("details.cart_items", "must be a whole number, 0 or more")
	}
	return &n
}
