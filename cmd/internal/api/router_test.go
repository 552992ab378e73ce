package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnknownPaths(t *testing.T) {
	w := newWorld(t, nil)
	for path, want := range map[string]struct {
		status int
		code   code
	}{
		"/":                               {404, notFound},
		"/v2/notifications":               {404, notFound},
		"/v2/notifications/unreads.json/": {404, notFound},
		"/v2/events/x":                    {404, notFound},
		"/v2/events/.json":                {404, notFound},
		"/v2/events/a/b.json":             {404, notFound},
		"/v1":                             {410, gone},
		"/v1/":                            {410, gone},
		"/v1/notifications/android.json":  {410, gone},
		"/v1x":                            {404, notFound},
	} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			w.fails(w.do(call{method: method, path: path}), want.status, want.code)
		}
	}
}

func TestOtherMethods(t *testing.T) {
	w := newWorld(t, nil)
	for _, tc := range []struct{ method, path, allow string }{
		{"GET", "/v2/notifications.json", "PATCH, PUT"},
		{"DELETE", "/v2/events.json", "POST"},
		{"BREW", "/v2/events.json", "POST"},
		{"POST", "/v2/events/a.b.json", "DELETE, GET, HEAD"},
		{"POST", "/v2/users/66.json", "DELETE, PUT"},
		{"POST", "/openapi.json", "GET, HEAD"},
	} {
		got := w.do(call{method: tc.method, path: tc.path})
		w.fails(got, 405, methodNotAllowed)
		if allow := got.header.Get("Allow"); allow != tc.allow {
			t.Errorf("%s %s: Allow %q, want %q", tc.method, tc.path, allow, tc.allow)
		}
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t, nil)
	w.must(w.get(unreadsPath), 200)
	w.must(w.get(unreadsPath), 200)
	w.must(w.do(call{method: "GET", path: unreadsPath}), 401)
	w.must(w.get("/v2/events/some.id.json"), 401)
	w.must(w.do(call{method: "BREW", path: "/any/thing"}), 404)
	families, err := w.metrics.Gather()
	check(t, err)
	requests, measured := map[string]float64{}, map[string]uint64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string // in the order method, route, status
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.Join(labels, " ")
			if n := m.GetCounter().GetValue(); n > 0 {
				requests[name] = n
			}
			if n := m.GetHistogram().GetSampleCount(); n > 0 {
				measured[name] = n
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"GET /v2/events/{id}.json 401":           1,
		"GET /v2/notifications/unreads.json 200": 2,
		"GET /v2/notifications/unreads.json 401": 1,
		"PUT /v2/users/{id}.json 200":            2, // by newWorld
		"any unmatched 404":                      1,
	}, requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{
		"GET /v2/events/{id}.json":           1,
		"GET /v2/notifications/unreads.json": 3,
		"PUT /v2/users/{id}.json":            2,
		"any unmatched":                      1,
	}, measured); diff != "" {
		t.Errorf("durations (-want +got):\n%s", diff)
	}
}
