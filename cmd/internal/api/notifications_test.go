package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/text"
)

const listPath = "/v2/notifications/list.json"

// messages returns the messages on a page of the list.
func (w *world) messages(query string) []string {
	w.t.Helper()
	texts := []string{}
	for _, n := range w.must(w.get(listPath+query), 200).envelope(w.t).Data {
		texts = append(texts, n.Message)
	}
	return texts
}

func TestListTypes(t *testing.T) {
	w := newWorld(t, nil)
	var events []string
	for _, kind := range []string{
		"transaction", "nego", "dompet", "report", "reminder", "discount", "category", "profile",
		"product", "announcement", "campaign", "flash_sale",
	} {
		events = append(events, fmt.Sprintf(`{"type":%q,"receiver_id":66,"message":%q}`, kind, kind))
		w.at(fmt.Sprintf("2016-01-11T13:08:%02d+07:00", len(events)))
		w.must(w.publish(events[len(events)-1]), 202)
	}
	for query, want := range map[string][]string{
		"":                                     {"flash_sale", "campaign", "announcement", "product", "profile", "category", "discount"},
		"?type=":                               {"flash_sale", "campaign", "announcement", "product", "profile", "category", "discount"},
		"?type=dompet":                         {"dompet"},
		"?type=dompet&type=nego":               {"dompet", "nego"},
		"?type[]=report&type[]=transaction":    {"report", "transaction"},
		"?type%5B%5D=discount&type=flash_sale": {"flash_sale", "discount"},
		"?type[0]=nego":                        {"nego"},
		"?type[0]=nego&type[1]=discount":       {"discount", "nego"},
		"?type=nego,discount":                  {"discount", "nego"},
		"?type[]=nego,discount&type[]=report":  {"discount", "report", "nego"},
		"?type=message&type=reminder":          {},
		"?type=unheard-of":                     {},
		"?unknown=1&type=nego":                 {"nego"},
	} {
		if diff := cmp.Diff(want, w.messages(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	got := w.do(call{method: "GET", path: listPath, auth: ani, media: typeJSON, body: `{"type":["nego","dompet"],"per_page":"1"}`})
	if e := got.envelope(t); len(e.Data) != 1 || e.Data[0].Type != "dompet" {
		t.Errorf("with a JSON body: %s", got.body)
	}
	w.must(w.get(listPath+"?"+strings.Repeat("type=x&", maxTypes)), 200)
	w.fails(w.get(listPath+"?"+strings.Repeat("type=x&", maxTypes+1)), 422, invalid, "type")
	w.fails(w.get(listPath+"?type=x"+strings.Repeat(",x", maxTypes)), 422, invalid, "type")
}

func TestListPages(t *testing.T) {
	w := newWorld(t, nil)
	events := make([]string, 105)
	for i := range events {
		events[i] = fmt.Sprintf(`{"type":"discount","receiver_id":66,"message":"%d"}`, i)
	}
	w.must(w.publish("["+strings.Join(events, ",")+"]"), 200)
	for query, want := range map[string]int{
		"":                                    10,
		"?page=2":                             10,
		"?page=11":                            5,
		"?page=12":                            0,
		"?per_page=3":                         3,
		"?per_page=100":                       100,
		"?per_page=101":                       100,
		"?per_page=99999999999999999999":      100,
		"?page=2&per_page=1000":               5,
		"?page=99999999999999999999":          0,
		"?page=4294967297":                    0,
		"?page=999999999999&per_page=9999999": 0,
	} {
		if got := len(w.messages(query)); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	seen := map[string]bool{}
	for page := 1; page <= 11; page++ {
		for _, text := range w.messages(fmt.Sprint("?page=", page)) {
			seen[text] = true
		}
	}
	if len(seen) != len(events) {
		t.Errorf("the pages show %d of %d", len(seen), len(events))
	}
	for _, bad := range []string{"0", "-1", "1.5", "x", "+1", "1e3", " 1"} {
		bad = strings.NewReplacer(" ", "%20", "+", "%2B").Replace(bad)
		w.fails(w.get(listPath+"?page="+bad), 422, invalid, "page")
		w.fails(w.get(listPath+"?page=x&per_page="+bad), 422, invalid, "page", "per_page")
	}
}

func TestListEmbedsBodiesAsTheyAre(t *testing.T) {
	w := newWorld(t, nil)
	details := `{"n":1.10,"big":12345678901234567890,"text":"<b>&\u2028é \" \\ /","image_url":null`
	w.must(w.publish(`{"type":"discount","receiver_id":66,"message":"<a> & \"b\"","details":`+details+`}}`), 202)
	got := w.must(w.get(listPath), 200)
	for _, want := range []string{details + `,"unread_items":null}}]}`, `"title":null,"message":"<a> & \"b\""`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s\nlacks %s", got.body, want)
		}
	}
}

func TestConditionalReads(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.publish(`{"type":"discount","receiver_id":66,"message":"m"}`), 202)
	for _, path := range []string{listPath, unreadsPath} {
		first := w.must(w.get(path), 200)
		tag := first.header.Get("ETag")
		if len(tag) < 18 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			t.Fatalf("%s: ETag %s", path, tag)
		}
		bare := strings.Trim(tag, `"`)
		for name, tc := range map[string]struct {
			header, value string
			status        int
		}{
			"the tag":             {"If-None-Match", tag, 304},
			"a weak one":          {"If-None-Match", "W/" + tag, 304},
			"among others":        {"If-None-Match", `"x", W/"y",` + tag, 304},
			"any":                 {"If-None-Match", "*", 304},
			"quoted as a sample":  {"If-None-Match", "'" + bare + "'", 304},
			"the documented way":  {"Etag", tag, 304},
			"without quotes":      {"Etag", bare, 304},
			"another":             {"If-None-Match", `"x"`, 200},
			"a part of it":        {"If-None-Match", tag[:10] + `"`, 200},
			"nothing":             {"If-None-Match", "", 200},
			"another, documented": {"Etag", `"x"`, 200},
		} {
			got := w.do(call{method: "GET", path: path, auth: ani, header: map[string]string{tc.header: tc.value}})
			if got.status != tc.status || got.header.Get("ETag") != tag || (tc.status == 304) != (got.body == "") {
				t.Errorf("%s, %s: %d %s %q", path, name, got.status, got.header.Get("ETag"), got.body)
			}
		}
		w.must(w.basic(ani, "PATCH", "/v2/notifications.json", ""), 200)
		got := w.do(call{method: "GET", path: path, auth: ani, header: map[string]string{"If-None-Match": tag}})
		if w.must(got, 200); got.header.Get("ETag") == tag {
			t.Errorf("%s changed, its tag did not", path)
		}
		w.must(w.publish(`{"type":"discount","receiver_id":66,"message":"m"}`), 202)
	}
}

func TestReadingAnother(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.publish(`{"type":"discount","receiver_ids":[66,67],"message":"m"}`), 202)
	id := w.must(w.get(listPath), 200).envelope(t).Data[0].ID
	path := "/v2/notifications/" + id + ".json"
	e := w.fails(w.basic(budi, "PATCH", path, ""), 404, notFound) // it belongs to Ani
	if e.Unread == nil || *e.Unread != 1 || e.Message != saying(text.Indonesian, textNotRead) {
		t.Errorf("answered %+v", e)
	}
	for _, other := range []string{"52a6e5e284eab03aa200013a", "x", "%2F", "%00", strings.Repeat("f", 500)} {
		e := w.fails(w.basic(ani, "PATCH", "/v2/notifications/"+other+".json", ""), 404, notFound)
		if e.Unread == nil || *e.Unread != 1 || e.Message != saying(text.Indonesian, textNotRead) {
			t.Errorf("%s: answered %+v", other, e)
		}
	}
	// The body and its type are ignored.
	w.must(w.do(call{method: "PATCH", path: path, auth: ani, media: "text/plain", body: "x"}), 200)
}

// The list shows Kabar's own texts in the language of the request, else of the user. Each
// language has its own ETag.
func TestListInTheReadersLanguage(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.publish(`{"negotiation":{"id":1,"state":"waiting","seller":{"id":66,"name":"Ani"},"buyer":{"id":15,"name":"Me Ow"}}}`), 202)
	w.must(w.publish(`{"type":"nego","receiver_id":66,"message":"m","details":{"id":2}}`), 202)
	const indonesian, english = "Anda mendapatkan tawaran nego dari Me Ow", "You have received an offer from Me Ow"
	tags := make(map[string]string)
	for _, c := range []struct{ profile, header, want string }{
		{"", "", indonesian},
		{"", "en-US,en;q=0.9", english},
		{"", "fr", indonesian},
		{"en", "", english},
		{"en", "id", indonesian},
		{"en", "fr", english},
	} {
		if c.profile != "" {
			w.must(w.bearer(directory, "PUT", "/v2/users/66.json", `{"locale":"`+c.profile+`"}`), 200)
		}
		got := w.must(w.do(call{method: "GET", path: listPath + "?type=nego", auth: ani, header: map[string]string{"Accept-Language": c.header}}), 200)
		e := got.envelope(t)
		if len(e.Data) != 2 || e.Data[0].Message != "m" || e.Data[1].Message != c.want || strings.Contains(got.body, "texts") {
			t.Errorf("%+v: %s", c, got.body)
		}
		if tag, told := tags[c.want]; told && tag != got.header.Get("ETag") {
			t.Errorf("%+v: tag %s, before %s", c, got.header.Get("ETag"), tag)
		}
		tags[c.want] = got.header.Get("ETag")
	}
	if tags[indonesian] == tags[english] {
		t.Error("both languages have one tag")
	}
}
