package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kabar-gateway/kabar/dispatcher/jsonscan"
)

// params are the parameters of one request, from the query string and from a form or a
// JSON object in the body. The body takes precedence. "name[]" and "name[0]" are the same as
// "name".
// Problems with the parameters that an endpoint reads are collected for err.
type params struct {
	values map[string][]string
	nested map[string]bool             // parameters that are objects, or lists of lists
	lists  map[string][]jsontext.Value // lists of a JSON body, as they were sent
	wrong  map[string]string           // by parameter
}

// readParams reads a request's parameters. An empty body has none, whatever its
// content type.
func readParams(r *http.Request) (*params, error) {
	p := &params{values: make(map[string][]string)}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		if err := p.readBody(r, body); err != nil {
			return nil, err
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &failure{code: malformed, fields: map[string]string{"query": "is not a valid query string"}}
	}
	p.addAll(query)
	return p, nil
}

// readBody adds the parameters of a body. A body without a content type is JSON when it
// begins with a brace, else a form.
func (p *params) readBody(r *http.Request, body []byte) error {
	media, options, err := mediaType(r)
	if err == nil && media == "" {
		media = typeForm
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			media = typeJSON
		}
	}
	switch media {
	case typeJSON:
		return p.readJSON(body)
	case typeForm:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return bodyProblem(malformed, "is not a valid form")
		}
		p.addAll(form)
		return nil
	case typeMultipart:
		return p.readMultipart(body, options["boundary"])
	}
	return unsupported(typeForm, typeMultipart, typeJSON)
}

func (p *params) addAll(values url.Values) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p.add(name, values[name]...)
	}
}

func (p *params) add(name string, values ...string) {
	name = withoutIndex(name)
	p.values[name] = append(p.values[name], values...)
}

// withoutIndex returns the name of a list without the brackets that clients write after it:
// "[]", or the index of an element, as in "type[0]".
func withoutIndex(name string) string {
	open := strings.LastIndexByte(name, '[')
	if open < 0 || !strings.HasSuffix(name, "]") || strings.Trim(name[open+1:len(name)-1], "0123456789") != "" {
		return name
	}
	return name[:open]
}

func (p *params) readMultipart(body []byte, boundary string) error {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var value []byte
		if err == nil {
			value, err = io.ReadAll(part)
		}
		if err != nil {
			return bodyProblem(malformed, "is not a valid form")
		}
		if part.FileName() == "" && part.FormName() != "" {
			p.add(part.FormName(), string(value))
		}
	}
}

func (p *params) readJSON(body []byte) error {
	if err := jsonscan.Bounded(body); err != nil {
		return bodyProblem(invalid, err.Error())
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(body, &members); err != nil {
		return jsonProblem(err)
	}
	for name, value := range members {
		if value.Kind() != '[' {
			p.addJSON(name, value)
			continue
		}
		var list []jsontext.Value
		if err := json.Unmarshal(value, &list); err != nil {
			return jsonProblem(err)
		}
		for _, item := range list {
			p.addJSON(name, item)
		}
		if p.lists == nil {
			p.lists = make(map[string][]jsontext.Value)
		}
		p.lists[name] = list
	}
	return nil
}

// addJSON adds a string, number or boolean. Null is the same as absent.
func (p *params) addJSON(name string, value jsontext.Value) {
	switch value.Kind() {
	case '"':
		text, err := jsontext.AppendUnquote(nil, value)
		if err == nil { // always: it was decoded before
			p.add(name, string(text))
		}
	case '0', 't', 'f':
		p.add(name, string(value))
	case '{', '[':
		if p.nested == nil {
			p.nested = make(map[string]bool)
		}
		p.nested[withoutIndex(name)] = true
		if value.Kind() == '{' && !strings.Contains(name, "[") {
			p.addMembers(name, value)
		}
	}
}

// addMembers adds the members of an object as a form names them: "object[member]".
// Objects within are left out.
func (p *params) addMembers(name string, object jsontext.Value) {
	var members map[string]jsontext.Value
	if json.Unmarshal(object, &members) != nil {
		return // never: it was decoded before
	}
	for member, value := range members {
		p.addJSON(name+"["+member+"]", value)
	}
}

// page returns the bounds of the requested page.
func (p *params) page() (offset, count int) {
	count = min(p.number("per_page", presetPerPage), maxPerPage)
	return (p.number("page", 1) - 1) * count, count
}

// jsonProblem says where JSON is malformed, without quoting it.
func jsonProblem(err error) *failure {
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		return bodyProblem(malformed, fmt.Sprintf("is not valid JSON at byte %d", syntax.ByteOffset))
	}
	return bodyProblem(malformed, "must be a JSON object")
}

// reject records what is wrong with a parameter; only the first problem is kept.
func (p *params) reject(name, problem string) {
	if p.wrong == nil {
		p.wrong = make(map[string]string)
	}
	if _, told := p.wrong[name]; !told {
		p.wrong[name] = problem
	}
}

// err is the failure that names every rejected parameter, or nil.
func (p *params) err() error {
	if len(p.wrong) == 0 {
		return nil
	}
	return &failure{code: invalid, fields: p.wrong}
}

// all returns the values of a parameter that are not empty.
func (p *params) all(name string) []string {
	if p.nested[name] {
		p.reject(name, "must be a text, or a list of texts")
		return nil
	}
	var values []string
	for _, v := range p.values[name] {
		if v != "" {
			values = append(values, v)
		}
	}
	return values
}

// names returns the names that a parameter lists, in several values or in one with commas.
func (p *params) names(name string) []string {
	var names []string
	for _, v := range p.all(name) {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				names = append(names, part)
			}
		}
	}
	return names
}

// given returns the value of a parameter, which may be empty, and whether there
// is one.
func (p *params) given(name string) (string, bool) {
	if p.nested[name] {
		p.reject(name, "must be a text or a number")
		return "", false
	}
	if values := p.values[name]; len(values) > 0 {
		return values[0], true
	}
	return "", false
}

// text returns the value of the first parameter of these names that is not
// empty, or "".
func (p *params) text(names ...string) string {
	for _, name := range names {
		if v, _ := p.given(name); v != "" {
			return v
		}
	}
	return ""
}

// maxNumber caps the numbers of parameters. No list is that long, and multiplying it by
// the length of a page does not overflow.
const maxNumber = 10_000_000

// number returns a whole number of at least 1, or preset when there is none.
func (p *params) number(name string, preset int) int {
	text := p.text(name)
	if text == "" {
		return preset
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return maxNumber
	}
	if err != nil || n == 0 {
		p.reject(name, "must be a whole number from 1")
		return preset
	}
	return int(min(n, maxNumber))
}
