package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
	"github.com/kabar-gateway/kabar/dispatcher/text"
)

const boundary = "multipart/form-data; boundary=XX"

// part returns one field of a multipart form.
func part(name, value string) string {
	return "--XX\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

// read reads parameters as an endpoint does, with any method.
func read(method, query, media, body string) (*params, error) {
	r := httptest.NewRequest(method, "/?"+query, strings.NewReader(body))
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	return readParams(r)
}

func TestParametersAreEqual(t *testing.T) {
	for name, tc := range map[string]struct{ query, media, body string }{
		"query":               {"type[]=a&type[]=b&page=2&name=Ani+%26+Budi", "", ""},
		"query, escaped":      {"type%5B%5D=a&type%5B%5D=b&page=2&name=Ani%20%26%20Budi", "", ""},
		"query, indices":      {"type[0]=a&type[1]=b&page=2&name=Ani+%26+Budi", "", ""},
		"query, commas":       {"type=a,b&page=2&name=Ani+%26+Budi", "", ""},
		"form, commas":        {"", typeForm, "type[]=a,+b,&page=2&name=Ani+%26+Budi"},
		"multipart, indices":  {"", boundary, part("type[0]", "a") + part("type[1]", "b") + part("page", "2") + part("name", "Ani & Budi") + "--XX--\r\n"},
		"JSON, commas":        {"", typeJSON, `{"type":"a,b","page":2,"name":"Ani \u0026 Budi"}`},
		"query, no brackets":  {"type=a&type=b&page=2&name=Ani+%26+Budi", "", ""},
		"form":                {"", typeForm, "type[]=a&type[]=b&page=2&name=Ani+%26+Budi"},
		"form with a charset": {"", typeForm + "; charset=UTF-8", "type=a&type=b&page=2&name=Ani+%26+Budi"},
		"form, no type":       {"", "", "type[]=a&type[]=b&page=2&name=Ani+%26+Budi"},
		"multipart":           {"", boundary, part("type[]", "a") + part("type[]", "b") + part("page", "2") + part("name", "Ani & Budi") + "--XX--\r\n"},
		"JSON":                {"", typeJSON, `{"type":["a","b"],"page":2,"name":"Ani \u0026 Budi","x":{"y":[1]}}`},
		"JSON, brackets":      {"", "Application/JSON; charset=utf-8", `{"type[]":["a",null,"b"],"page":"2","name":"Ani & Budi","z":null}`},
		"JSON, no type":       {"", "", "\n {\"type\":[\"a\",\"b\"],\"page\":2,\"name\":\"Ani & Budi\"}"},
		"some in each":        {"type=b&page=3", typeForm, "type=a&page=2&name=Ani+%26+Budi"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"GET", "POST", "PATCH", "PUT", "DELETE"} {
				p, err := read(method, tc.query, tc.media, tc.body)
				check(t, err)
				if diff := cmp.Diff([]string{"a", "b"}, p.names("type")); diff != "" {
					t.Errorf("%s: type (-want +got):\n%s", method, diff)
				}
				if n := p.number("page", 1); n != 2 {
					t.Errorf("%s: page %d", method, n)
				}
				if s := p.text("product_name", "name"); s != "Ani & Budi" {
					t.Errorf("%s: name %q", method, s)
				}
				if _, ok := p.given("z"); ok {
					t.Errorf("%s: z is given", method)
				}
				check(t, p.err())
			}
		})
	}
}

func TestEmptyBodies(t *testing.T) {
	for _, media := range []string{"", typeForm, typeJSON, boundary, "text/plain", "nonsense"} {
		p, err := read("DELETE", "reg_id=A", media, "")
		check(t, err)
		if p.text("reg_id") != "A" {
			t.Errorf("%s: the query is not read", media)
		}
	}
}

func TestUnreadableParameters(t *testing.T) {
	for name, tc := range map[string]struct {
		query, media, body string
		code               code
		field              string
	}{
		"text":                   {"", "text/plain", "reg_id=A", unsupportedMedia, "Content-Type"},
		"XML":                    {"", "application/xml", "<a/>", unsupportedMedia, "Content-Type"},
		"no content type at all": {"", "/;;", "a=b", unsupportedMedia, "Content-Type"},
		"JSON cut off":           {"", typeJSON, `{"reg_id":"s3cret`, malformed, "body"},
		"JSON twice":             {"", typeJSON, `{} {}`, malformed, "body"},
		"JSON names twice":       {"", typeJSON, `{"a":1,"a":2}`, malformed, "body"},
		"JSON array":             {"", typeJSON, `["s3cret"]`, malformed, "body"},
		"JSON string":            {"", typeJSON, `"s3cret"`, malformed, "body"},
		"not UTF-8":              {"", typeJSON, "{\"a\":\"\xff\"}", malformed, "body"},
		"form":                   {"", typeForm, "a=%zz", malformed, "body"},
		"multipart cut off":      {"", boundary, part("a", "s3cret"), malformed, "body"},
		"multipart, no boundary": {"", typeMultipart, "--XX--", malformed, "body"},
		"query":                  {"a=%zz", "", "", malformed, "query"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read("POST", tc.query, tc.media, tc.body)
			if err == nil {
				t.Fatal("no error")
			}
			f := failureOf(err)
			if f.code != tc.code || f.fields[tc.field] == "" || len(f.fields) != 1 {
				t.Errorf("%s %v, want %s of %s", f.code, f.fields, tc.code, tc.field)
			}
			if strings.Contains(f.fields[tc.field], "s3cret") {
				t.Errorf("repeats the input: %v", f.fields)
			}
		})
	}
}

func TestWithoutIndex(t *testing.T) {
	for name, want := range map[string]string{
		"type": "type", "type[]": "type", "type[0]": "type", "type[10]": "type",
		"config[promo]": "config[promo]", "type[0": "type[0", "type[0]]": "type[0]]", "type[0][1]": "type[0]", "config[promo][]": "config[promo]", "[": "[",
	} {
		if got := withoutIndex(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestParametersOfTheWrongShape(t *testing.T) {
	p, err := read("POST", "", typeJSON, `{"reg_id":{"a":1},"type":[["a"]],"page":1.5,"per_page":0,"far":99999999999999999999,"unknown":{}}`)
	check(t, err)
	p.text("reg_id")
	p.all("type")
	p.number("page", 1)
	p.number("per_page", 10)
	if n := p.number("far", 1); n != maxNumber {
		t.Errorf("far is %d", n)
	}
	got := failureOf(p.err()).fields
	for _, name := range []string{"reg_id", "type", "page", "per_page"} {
		if got[name] == "" {
			t.Errorf("%s is not rejected", name)
		}
	}
	if len(got) != 4 {
		t.Errorf("rejected %v", got)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	path := "/v2/notifications/android.json"
	fits := "reg_id=A&x=" + strings.Repeat("x", smallBody-len("reg_id=A&x="))
	for _, chunked := range []bool{false, true} {
		c := call{method: "POST", path: path, auth: ani, media: typeForm, body: fits, chunked: chunked}
		w.must(w.do(c), 200)
		c.body += "x"
		if e := w.fails(w.do(c), 413, tooLarge, "body"); e.Message != saying(text.Indonesian, textDeviceNotAdded) {
			t.Errorf("message %q", e.Message)
		}
	}
}

func TestABodyThatEndsEarly(t *testing.T) {
	r := httptest.NewRequest("POST", "/", http.NoBody)
	r.Body = http.MaxBytesReader(nil, failingBody{}, smallBody)
	r.ContentLength = 10
	if _, err := readParams(r); failureOf(err).code != malformed {
		t.Errorf("got %v", err) // this is the client's fault, not that of Redis
	}
}

// failingBody is a body that fails with a timeout when it is read.
type failingBody struct{ http.File }

func (failingBody) Read([]byte) (int, error) { return 0, timeoutError{} }
func (failingBody) Close() error             { return nil }

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestMembersOfAnObject(t *testing.T) {
	deep := strings.Repeat(`{"a":`, jsonscan.MaxDepth-1) + "1" + strings.Repeat("}", jsonscan.MaxDepth-1)
	p, err := read("POST", "im[d]=query", typeJSON, `{"im":{"a":"x","b":7,"c":null,"d":["y","z"],"e":{"f":1}},"im[g]":"h","list":[{"a":1}],"deep":`+deep+`}`)
	check(t, err)
	for name, want := range map[string]string{"im[a]": "x", "im[b]": "7", "im[c]": "", "im[g]": "h", "im[e][f]": "", "im": "", "deep[a]": ""} {
		if got := p.text(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := p.values["im[d]"]; len(got) != 1 || got[0] != "query" {
		t.Errorf("im[d] is %q", got)
	}
	if n := len(p.values) + len(p.nested); n > 12 {
		t.Errorf("%d parameters", n)
	}
}
