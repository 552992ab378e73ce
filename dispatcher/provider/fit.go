package provider

import (
	"encoding/json"
	"slices"
	"sort"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// minText is how much of each text stays as long as there is a presentation that could go
// instead, in bytes.
const minText = 120

// Content is the part of a push that [Fit] may cut.
type Content struct {
	// Data holds the top-level fields of the push's data. Fit does not change the
	// slice that it is given.
	Data []push.Field
	// Title and Body are the texts that the phone shows.
	Title, Body  string
	Presentation push.Presentation
}

// ContentOf returns the content of a delivery.
func ContentOf(d *push.Delivery) Content {
	return Content{Data: d.Data, Title: d.Title, Body: d.Body, Presentation: d.Presentation}
}

// Fit returns c reduced until size(c), in the bytes that the provider counts, is at most
// limit. It first drops whole fields of the details, the least important ones first and
// unread_items and the id last, and marks the details with "truncated": true. If that is
// not enough it cuts the texts (message and title in the data, Title and Body); see
// [Cut]. Texts stay longer than minText as long as a part of the presentation can go: the
// image, then the subtitle and the target, then the link. Other top-level fields stay.
//
// If nothing fits, Fit returns the smallest content, which the provider will refuse.
func Fit(c Content, limit int, size func(Content) int) Content {
	if size(c) <= limit {
		return c
	}
	if i, details := findDetails(c.Data); i >= 0 {
		for _, r := range reductions {
			c.Data = withValue(c.Data, i, r.apply(details))
			if size(c) <= limit {
				return c
			}
		}
	}
	for _, drop := range drops {
		if size(c.cutTexts(minText)) <= limit {
			break
		}
		c = drop(c)
	}
	// Search for the longest texts that fit. None of them is longer than limit.
	c = c.cutTexts(limit)
	less := sort.Search(limit, func(less int) bool { return size(c.cutTexts(limit-less)) <= limit })
	return c.cutTexts(limit - less)
}

// drops leave out one part of the presentation each, the least important one first.
var drops = []func(Content) Content{
	func(c Content) Content {
		c.Presentation.Image = ""
		return c.withoutField(push.FieldImage)
	},
	func(c Content) Content {
		c.Presentation.APNs.Subtitle, c.Presentation.APNs.TargetContentID = "", ""
		return c
	},
	func(c Content) Content {
		c.Presentation.Link = ""
		return c.withoutField(push.FieldLink)
	},
}

// withoutField returns c without a top-level field of the data.
func (c Content) withoutField(name string) Content {
	c.Data = slices.DeleteFunc(slices.Clone(c.Data), func(f push.Field) bool { return f.Name == name })
	return c
}

// cutTexts returns c with each text cut to maxLen bytes.
func (c Content) cutTexts(maxLen int) Content {
	for i, f := range c.Data {
		if f.Name != "message" && f.Name != "title" {
			continue
		}
		var s string
		if len(f.Value) <= maxLen || json.Unmarshal(f.Value, &s) != nil {
			continue // short enough, or not a string
		}
		if short := Cut(s, maxLen); short != s {
			c.Data = withValue(c.Data, i, AppendString(nil, short))
		}
	}
	c.Title, c.Body = Cut(c.Title, maxLen), Cut(c.Body, maxLen)
	return c
}

// withValue returns a copy of data with another value at i.
func withValue(data []push.Field, i int, value json.RawMessage) []push.Field {
	data = append([]push.Field(nil), data...)
	data[i].Value = value
	return data
}

// findDetails returns the index of the field "details" and the members of its object, or
// -1 if there is no such object.
func findDetails(data []push.Field) (int, []jsonscan.Member) {
	for i, f := range data {
		if f.Name != "details" || !json.Valid(f.Value) {
			continue
		}
		if members, err := membersOf(f.Value); err == nil {
			return i, members
		}
	}
	return -1, nil
}
