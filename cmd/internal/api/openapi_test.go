package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"github.com/kabar-gateway/kabar/docs"
)

// document is the OpenAPI document that the server serves.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	body, err := documentJSON(docs.OpenAPI)
	if err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(body)
})

func TestOpenAPIIsValid(t *testing.T) {
	doc, err := document()
	check(t, err)
	check(t, doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater(), openapi3.EnableExamplesValidation()))
}

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	doc, err := document()
	check(t, err)
	var documented, routed []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	a := newAPI(Options{Publisher: fakePublisher{}})
	check(t, chi.Walk(a.router.mux, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+strings.Replace(pattern, idPattern, "{id}.json", 1))
		return nil
	}))
	for _, r := range routed {
		if !slices.Contains(documented, r) {
			t.Errorf("%s is not documented", r)
		}
	}
	for _, d := range documented {
		if !slices.Contains(routed, d) {
			t.Errorf("%s is documented and does not exist", d)
		}
	}
}

func TestOpenAPIHasEveryCode(t *testing.T) {
	doc, err := document()
	check(t, err)
	listed := doc.Components.Schemas["Code"].Value.Enum
	if len(listed) != len(codes) {
		t.Errorf("%d codes are documented, there are %d", len(listed), len(codes))
	}
	for _, c := range listed {
		if _, ok := codes[code(c.(string))]; !ok {
			t.Errorf("there is no code %s", c)
		}
	}
}

// The documents are served as JSON, and their members keep their order.
func TestDocumentsAreServed(t *testing.T) {
	w := newWorld(t, nil)
	for path, start := range map[string]string{
		"/openapi.json":  `{"openapi":"3.1.0","info":{"title":"Kabar"`,
		"/asyncapi.json": `{"asyncapi":"3.0.0","info":{"title":"Kabar's live sockets"`,
	} {
		got := w.must(w.do(call{method: "GET", path: path}), 200)
		if !json.Valid([]byte(got.body)) || !strings.HasPrefix(got.body, start) {
			t.Errorf("%s is %.80s", path, got.body)
		}
		if kind := got.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
			t.Errorf("%s is served as %s", path, kind)
		}
	}
}

// conforms checks an answer against the OpenAPI document, if the document has the path and
// method.
func conforms(t *testing.T, a answer) {
	t.Helper()
	doc, err := document()
	check(t, err)
	op := operation(doc, a.call.method, strings.SplitN(a.call.path, "?", 2)[0])
	if op == nil {
		return
	}
	ref := op.Responses.Value(strconv.Itoa(a.status))
	if ref == nil {
		ref = op.Responses.Default()
	}
	for name := range ref.Value.Headers {
		if a.header.Get(name) == "" {
			t.Errorf("%s %s: %d lacks the documented header %s", a.call.method, a.call.path, a.status, name)
		}
	}
	media := ref.Value.Content.Get("application/json")
	if media == nil {
		if a.body != "" {
			t.Errorf("%s %s: %d has a body: %s", a.call.method, a.call.path, a.status, a.body)
		}
		return
	}
	var value any
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		t.Errorf("%s %s: %d %q is not JSON", a.call.method, a.call.path, a.status, a.body)
		return
	}
	if err := media.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s %s: %d %s does not conform: %v", a.call.method, a.call.path, a.status, a.body, err)
	}
}

var pathParameter = regexp.MustCompile(`\\\{id\\\}`)

// operation returns the documented operation of a request, or nil.
func operation(doc *openapi3.T, method, path string) *openapi3.Operation {
	if item := doc.Paths.Value(path); item != nil {
		return item.GetOperation(method)
	}
	for template, item := range doc.Paths.Map() {
		pattern := pathParameter.ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		if regexp.MustCompile("^" + pattern + "$").MatchString(path) {
			return item.GetOperation(method)
		}
	}
	return nil
}
