package event

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

// presentingParser accepts links of the scheme shop, and has links by type.
func presentingParser() *Parser {
	return NewParser(Options{
		Types: NewTypes(
			Type{Name: "transaction", Defaults: Defaults{Link: "https://shop.example/transactions/{id}?no={transaction.transaction_id}"}},
			Type{Name: "nego", Defaults: Defaults{Link: "shop://offers/{id}"}},
			Type{Name: "report", Defaults: Defaults{Link: "shop:product?id={id}"}},
			Type{Name: "product", Defaults: Defaults{Link: "https://shop.example/{product.id}"}},
		),
		Texts: testTexts, Locale: text.Indonesian, LinkSchemes: []string{"shop"},
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})
}

func discount(members string) string {
	return `{"type":"discount","receiver_id":66,"message":"m",` + members + `}`
}

// Each fault is named by its path when the event is published.
func TestFaultsOfAPresentation(t *testing.T) {
	t.Parallel()
	const (
		notURL, scheme, name = "must be a URL", "must begin with https:// or shop:", "must be 1 to 64 visible ASCII"
		long                 = "0123456789012345678901234567890123456789012345678901234567890123456789"
	)
	for members, want := range map[string][2]string{
		`"image":7`:                          {"image", "must be a string"},
		`"image":"http://shop.example/a"`:    {"image", "must begin with https://"},
		`"image":"shop://a.png"`:             {"image", "must begin with https://"},
		`"image":"//shop.example/a.png"`:     {"image", "must begin with https://"},
		`"image":"https://a b"`:              {"image", notURL},
		`"image":"https://é.example"`:        {"image", notURL},
		`"image":""`:                         {"image", "must begin with https://"},
		`"image":"https:///a.png"`:           {"image", "must begin with https://"},
		`"link":"javascript:alert(1)"`:       {"link", scheme},
		`"link":"/promo/1"`:                  {"link", scheme},
		`"link":"shop:"`:                     {"link", scheme},
		`"link":"https://me@shop.example/"`:  {"link", scheme},
		`"link":"https://shop.example/{id}"`: {"link", notURL},
		`"link":"https://shop.example/` + strings.Repeat("a", maxURL) + `"`: {"link", "must have at most 1024 bytes"},
		`"sound":"../../etc"`:                                            {"sound", `must be "none", "default"`},
		`"sound":true`:                                                   {"sound", "must be a string"},
		`"options":{"analytics_label":"a b"}`:                            {"options.analytics_label", "must be 1 to 50 of"},
		`"options":{"android":[]}`:                                       {"options.android", "must be an object"},
		`"options":{"android":{"channel_id":"a b"}}`:                     {"options.android.channel_id", name},
		`"options":{"android":{"channel_id":"` + long + `"}}`:            {"options.android.channel_id", name},
		`"options":{"android":{"visibility":"private"}}`:                 {"options.android.visibility", "must be one of PRIVATE, PUBLIC, SECRET"},
		`"options":{"android":{"notification_priority":"HIGH"}}`:         {"options.android.notification_priority", "must be one of PRIORITY_MIN"},
		`"options":{"android":{"direct_boot_ok":"yes"}}`:                 {"options.android.direct_boot_ok", "must be true or false"},
		`"options":{"apns":7}`:                                           {"options.apns", "must be an object"},
		`"options":{"apns":{"interruption_level":"loud"}}`:               {"options.apns.interruption_level", "must be one of passive"},
		`"options":{"apns":{"relevance_score":1.1}}`:                     {"options.apns.relevance_score", "must be a number from 0 to 1"},
		`"options":{"apns":{"relevance_score":"NaN"}}`:                   {"options.apns.relevance_score", "must be a number from 0 to 1"},
		`"options":{"apns":{"category":""}}`:                             {"options.apns.category", name},
		`"options":{"apns":{"subtitle":7}}`:                              {"options.apns.subtitle", "must be a string"},
		`"options":{"apns":{"target_content_id":"` + long + long + `"}}`: {"options.apns.target_content_id", "must have at most 128 characters"},
	} {
		_, err := presentingParser().Parse([]byte(discount(members)))
		var invalid *InvalidError
		if !errors.As(err, &invalid) || len(invalid.Fields) != 1 || !strings.HasPrefix(invalid.Fields[want[0]], want[1]) {
			t.Errorf("%.80s: %v, want %s %s", members, err, want[0], want[1])
		}
	}
}

func TestPresentation(t *testing.T) {
	t.Parallel()
	const all = `"image":"https://img.example/a.png?w=1&h=2","link":"shop://promo/1","sound":"chime.caf","options":{"analytics_label":"spring",
		"android":{"channel_id":"promo","visibility":"PUBLIC","notification_priority":"PRIORITY_HIGH","direct_boot_ok":true},
		"apns":{"interruption_level":"time-sensitive","relevance_score":0.5,"category":"OPEN","subtitle":"s","target_content_id":"t"}}`
	want := push.Presentation{
		Image: "https://img.example/a.png?w=1&h=2", Link: "shop://promo/1", Sound: "chime.caf", Label: "spring",
		Android: push.Android{Channel: "promo", Visibility: "PUBLIC", Priority: "PRIORITY_HIGH", DirectBootOK: true},
		APNs:    push.APNs{InterruptionLevel: "time-sensitive", RelevanceScore: 0.5, Category: "OPEN", Subtitle: "s", TargetContentID: "t"},
	}
	p := presentingParser()
	for _, raw := range []string{
		discount(all),
		`{"receiver_id":66,` + all + `,"data":{"type":"discount","message":"m"}}`,
		`{"receiver_id":66,"mutation":` + rawMutation + `,` + all + `}`,
	} {
		e, err := p.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		c := e.ContentFor(66)
		if diff := cmp.Diff(want, c.Presentation); diff != "" || len(e.Unknown) > 0 {
			t.Errorf("%s: unknown %q\n%s", raw, e.Unknown, diff)
		}
		if !strings.Contains(string(c.Details), `"image_url":"https://img.example/a.png?w=1&h=2"`) || !strings.Contains(string(c.Details), `"link_to":"shop://promo/1"`) {
			t.Errorf("details %s", c.Details)
		}
		read, err := push.ParsePresentation(c.Presentation.JSON())
		if diff := cmp.Diff(want, read); diff != "" || err != nil {
			t.Errorf("stored and read: %v\n%s", err, diff)
		}
	}
	e, err := p.Parse([]byte(discount(`"image":null,"link":null,"sound":null,"options":{"android":null,"apns":{"subtitle":null},"analytics_label":null}`)))
	if err != nil || e.ContentFor(66).Presentation != (push.Presentation{}) {
		t.Errorf("%+v, %v", e, err)
	}
}

// Members that neither platform has are named like any other slip.
func TestUnknownPresentation(t *testing.T) {
	t.Parallel()
	e, err := presentingParser().Parse([]byte(discount(`"options":{"android":{"priority":"high","color":"red"},"apns":{"sound":"x"},"ios":{}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"options.android.priority", "options.android.color", "options.apns.sound", "options.ios"}, e.Unknown); diff != "" {
		t.Error(diff)
	}
}

// Image and link fill the documented members where those are empty, and nowhere else.
func TestPresentationFillsDetails(t *testing.T) {
	t.Parallel()
	const given = `"image":"https://i.example","link":"https://l.example",`
	for details, want := range map[string]string{
		`{}`:                                    `{"image_url":"https://i.example","link_to":"https://l.example"}`,
		`{"image_url":null,"a":1,"link_to":""}`: `{"image_url":"https://i.example","a":1,"link_to":"https://l.example"}`,
		`{"link_to":"/promo/1","image_url":"https://own"}`: `{"link_to":"/promo/1","image_url":"https://own"}`,
		`{"image_url":[]}`: `{"image_url":[],"link_to":"https://l.example"}`,
	} {
		e, err := presentingParser().Parse([]byte(discount(given + `"details":` + details)))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(e.ContentFor(66).Details); got != want {
			t.Errorf("%s became %s, want %s", details, got, want)
		}
	}
}

// A type's template links to what the event is about, unless the event has a link or lacks
// what the template names.
func TestLinkOfAType(t *testing.T) {
	t.Parallel()
	transaction := func(id string) string {
		return `{"type":"transaction","receiver_id":66,"message":"m","details":{"id":7,"transaction":{"id":7,"transaction_id":` + id + `}}}`
	}
	for raw, want := range map[string]string{
		transaction(`"14/01 é&x=1"`): "https://shop.example/transactions/7?no=14%2F01%20%C3%A9%26x%3D1",
		transaction(`""`):            "",
		transaction(`".."`):          "",
		transaction(`{}`):            "",
		transaction(`"` + strings.Repeat("x", maxURL) + `"`):                                  "",
		`{"transaction":` + rawTransaction + `,"receiver_id":66}`:                             "",
		`{"negotiation":` + rawOffer + `,"receiver_id":66}`:                                   "shop://offers/51588",
		`{"negotiation":` + rawOffer + `,"receiver_id":66,"link":"shop://x"}`:                 "shop://x",
		`{"product":` + rawProduct + `}`:                                                      "shop:product?id=h",
		`{"type":"product","receiver_id":66,"message":"m","details":{"product":{"id":"p1"}}}`: "https://shop.example/p1",
		`{"type":"discount","receiver_id":66,"message":"m","details":{"id":1}}`:               "",
	} {
		e, err := presentingParser().Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		c := e.ContentFor(66)
		if c.Presentation.Link != want {
			t.Errorf("%.90s: link %q, want %q", raw, c.Presentation.Link, want)
		}
		if want != "" && !strings.Contains(string(c.Details), fmt.Sprintf(`"link_to":%q`, want)) {
			t.Errorf("%.90s: details %s", raw, c.Details)
		}
	}
}

func TestValidateDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d    Defaults
		want []string
	}{
		{Defaults{}, nil},
		{Defaults{Channel: "money", Sound: "none", InterruptionLevel: "passive", Link: "https://shop.example/{transaction.id}?a={b}#c"}, nil},
		{Defaults{Channel: "a b", Sound: "a b", InterruptionLevel: "x", Link: "/promo"}, []string{"channel", "interruption_level", "link", "sound"}},
		{Defaults{Link: "shop://{id}"}, nil},
		{Defaults{Link: "https://{id}/x"}, []string{"link"}},
		{Defaults{Link: "{id}://x"}, []string{"link"}},
		{Defaults{Link: "https://x/{id"}, []string{"link"}},
		{Defaults{Link: "https://x/id}"}, []string{"link"}},
		{Defaults{Link: "https://x/{}"}, []string{"link"}},
		{Defaults{Link: "https://x/{Id}"}, []string{"link"}},
		{Defaults{Link: "https://x/{a{b}}"}, []string{"link"}},
		{Defaults{Link: "web://x/{id}"}, []string{"link"}},
	} {
		var v Validator
		c.d.Validate(&v, []string{"shop"})
		if got := slices.Sorted(maps.Keys(v.fields)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.d, v.fields, c.want)
		}
	}
}

// A built-in type takes defaults, and stays what it is otherwise.
func TestDefaultsOfABuiltInType(t *testing.T) {
	t.Parallel()
	types := NewTypes(Type{Name: "dompet", Message: "x", Defaults: Defaults{Channel: "money"}})
	want := builtIn["dompet"]
	want.Channel = "money"
	if diff := cmp.Diff(want, types.Spec("dompet")); diff != "" {
		t.Error(diff)
	}
	if types.messages["dompet"] != "" || builtIn["dompet"].Channel != "" {
		t.Error("the built-in table changed, or the type has a text")
	}
}
