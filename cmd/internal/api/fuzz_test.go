package api

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices/credentials"
)

// FuzzForm reads parameters from a query string and a body as endpoints do. What is read
// must be the same when it is sent again as a form.
func FuzzForm(f *testing.F) {
	for _, media := range []string{typeForm, typeJSON, ""} {
		f.Add("type[]=a&type[]=b", media, "page=2&name=Ani+%26+Budi")
		f.Add("page=0", media, `{"type":["a",null,{}],"page":2.5,"name":"\u0000","q":{"from":{"a":[1]}},"n":1e400}`)
		f.Add("%zz", media, "a=%zz;b")
		f.Add("a[b]=c", media, `{"a":{"b":"c"},"a[b]":1,"a[]":2}`)
	}
	f.Add("", typeMultipart+`; boundary="`, "--")
	f.Fuzz(func(t *testing.T, query, media, body string) {
		p, err := readAs(query, media, body)
		if err != nil {
			known(t, err)
			return
		}
		use(p)
		form := url.Values{}
		for name, values := range p.values {
			form[name+"[]"] = values
		}
		again, err := readAs("", typeForm, form.Encode())
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range p.values {
			if fmt.Sprint(again.values[name]) != fmt.Sprint(values) {
				t.Errorf("%q is %q, and as a form %q", name, values, again.values[name])
			}
		}
	})
}

// FuzzMultipart reads parameters from a multipart form.
func FuzzMultipart(f *testing.F) {
	f.Add("XX", part("type[]", "a")+part("page", "2")+"--XX--\r\n")
	f.Add("XX", "--XX\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nc\r\n--XX--")
	f.Add("XX", "--XX\nContent-Disposition: form-data; name*=utf-8''%e2%82%ac\nContent-Transfer-Encoding: quoted-printable\n\n=41\n--XX--")
	f.Add("", "----")
	f.Add("XX", "--XX\r\n")
	f.Fuzz(func(t *testing.T, boundary, body string) {
		p, err := readAs("", typeMultipart+"; boundary="+boundary, body)
		if err != nil {
			known(t, err)
			return
		}
		use(p)
		var again bytes.Buffer
		w := multipart.NewWriter(&again)
		for name, values := range p.values {
			for _, v := range values {
				if err := w.WriteField(name+"[]", v); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := readAs("", w.FormDataContentType(), again.String()); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}

// readAs reads parameters; a body of "" is none.
func readAs(query, media, body string) (*params, error) {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.URL.RawQuery = query
	r.Header.Set("Content-Type", media)
	return readParams(r)
}

// use reads parameters by all their names.
func use(p *params) {
	for name := range p.values {
		p.all(name)
		p.text(name)
		p.number(name, 1)
	}
	p.page()
	_ = p.err() // what is wrong with them is not of interest
}

// known checks that a failure blames the request.
func known(t *testing.T, err error) {
	t.Helper()
	if f := failureOf(err); f.code == internal || len(f.fields) == 0 {
		t.Errorf("code %s, fields %v: %v", f.code, f.fields, err)
	}
}

// FuzzSplit divides a body with several events. An event that cannot be read must not
// change the others.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(`[{"id":"a"},7,"x",[]]`))
	f.Add([]byte("{}\r\n\n [1]\n"))
	f.Add([]byte(`[{"a":1,"a":2},{`))
	f.Add([]byte(`[1,]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if lines, err := splitLines(body); err == nil {
			again, err := splitLines(bytes.Join(lines, []byte("\n")))
			if err != nil || len(again) != len(lines) {
				t.Errorf("%d lines, and joined %d: %v", len(lines), len(again), err)
			}
		}
		if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '[' {
			return
		}
		events, err := splitArray(body)
		if err != nil {
			known(t, err)
			return
		}
		var list []jsontext.Value
		if jsontext.Value(body).IsValid() {
			list = readArray(t, body)
			if len(list) != len(events) {
				t.Fatalf("%d events of %d", len(events), len(list))
			}
		}
		for i, v := range list {
			if !bytes.Equal(events[i], v) {
				t.Errorf("event %d is %q, not %q", i, events[i], v)
			}
		}
	})
}

func readArray(t *testing.T, body []byte) (list []jsontext.Value) {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	if _, err := dec.ReadToken(); err != nil {
		t.Fatal(err)
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v.Clone())
	}
	return list
}

// FuzzCredential reads the credential of a request. A user's id has one form only.
func FuzzCredential(f *testing.F) {
	for _, header := range []string{
		"Basic NjY6dG9rM250b2szbg==", "basic NjY6", "Basic MDY2OnQ=", "Basic LTE6dA==", "Basic ***", "Bearer 66", "Bearer", "bearer  x ", "Bearer " + shop, "Negotiate a",
		"Basic OTIyMzM3MjAzNjg1NDc3NTgwODp0",
	} {
		f.Add(header)
	}
	users := newAuthentication(Options{SignIn: fakeTokens{}, Services: services}, newMetrics(prometheus.NewRegistry()))
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if user, _, ok := users.credential(r); ok && user <= 0 {
			t.Errorf("%q is user %d", header, user)
		}
		key, ok := bearer(r)
		if s := users.service(r); (s != nil) != (ok && slices.Contains([]string{shop, shop2, directory, marketing, strict}, key)) {
			t.Errorf("%q is the service %+v", header, s)
		}
	})
}

// fakeTokens reads a token that is its user's id.
type fakeTokens struct{}

func (fakeTokens) Authenticate(context.Context, int64, string, string) error { return nil }

func (fakeTokens) Claims(token string) (user int64, until time.Time, err error) {
	if _, err := fmt.Sscanf(token, "%d", &user); err != nil || user <= 0 {
		return 0, time.Time{}, credentials.ErrUnauthorized
	}
	return user, time.Time{}, nil
}
