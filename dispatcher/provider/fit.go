package provider

import (
	"encoding/json"
	"sort"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// Content is what of a push can be cut down.
type Content struct {
	// Data is the push's data; what the slice holds is never changed.
	Data []push.Field
	// Title and Body are what the screen shows.
	Title, Body string
}

// Fit returns c, cut down until size, which measures what a provider counts, is
// at most limit. The details go first, in whole fields and marked with
// "truncated": true, from their heavy parts down to their id; unread_items stays
// in them as long as it can. If that is not enough, the texts (message and title
// in the data, title and body on the screen) are cut between whole characters and
// end in "…". Other top-level fields stay.
//
// It returns the smallest there is when even that is too large, and leaves it to
// the provider to refuse it.
func Fit(c Content, limit int, size func(Content) int) Content {
	if size(c) <= limit {
		return c
	}
	if i, details := findDetails(c.Data); i >= 0 {
		for _, s := range steps {
			c.Data = with(c.Data, i, s.reduce(details))
			if size(c) <= limit {
				return c
			}
		}
	}
	// The search is for the gentlest cut: the longest texts that still fit. None
	// longer than the limit can.
	c = c.texts(limit)
	cut := sort.Search(limit, func(by int) bool { return size(c.texts(limit-by)) <= limit })
	return c.texts(limit - cut)
}

// texts returns c with texts of at most that many bytes each.
func (c Content) texts(most int) Content {
	for i, f := range c.Data {
		if f.Name != "message" && f.Name != "title" {
			continue
		}
		var s string
		if len(f.Value) <= most || json.Unmarshal(f.Value, &s) != nil {
			continue // short enough, or null, or no text
		}
		if short := Cut(s, most); short != s {
			c.Data = with(c.Data, i, AppendString(nil, short))
		}
	}
	c.Title, c.Body = Cut(c.Title, most), Cut(c.Body, most)
	return c
}

// with returns a copy of data with another value at i.
func with(data []push.Field, i int, value json.RawMessage) []push.Field {
	data = append([]push.Field(nil), data...)
	data[i].Value = value
	return data
}

// findDetails returns the place and the members of details, or -1 where there is
// no such object.
func findDetails(data []push.Field) (int, []member) {
	for i, f := range data {
		if f.Name == "details" {
			if members, ok := parse(f.Value); ok {
				return i, members
			}
		}
	}
	return -1, nil
}
