package api

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kabar-gateway/kabar/devices"
	"github.com/kabar-gateway/kabar/devices/ratelimit"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

const (
	androidPath = "/v2/notifications/android.json"
	iosPath     = "/v2/notifications/ios.json"
	logoutPath  = "/v2/notifications/logout.json"
)

func TestInvalidDevices(t *testing.T) {
	w := newWorld(t, nil)
	long := strings.Repeat("x", 201)
	for _, tc := range []struct {
		method, path, form string
		message            string // text id of the expected message
		field              string
	}{
		{"POST", androidPath, "", textDeviceNotAdded, "reg_id"},
		{"POST", androidPath, "token=A", textDeviceNotAdded, "reg_id"},
		{"POST", androidPath, "reg_id=a%20b", textDeviceNotAdded, "reg_id"},
		{"POST", androidPath, "reg_id=A&model=" + long, textDeviceNotAdded, "model"},
		{"POST", androidPath, "reg_id=A&manufacturer=%00", textDeviceNotAdded, "manufacturer"},
		{"POST", androidPath, "reg_id=A&name=" + long, textDeviceNotAdded, "product_name"},
		{"POST", androidPath, "reg_id=A&apps_version=" + long, textDeviceNotAdded, "app_version"},
		{"POST", androidPath, "reg_id=A&app=unknown", textDeviceNotAdded, "app"},
		{"POST", androidPath, "reg_id=A&environment=sandbox", textDeviceNotAdded, "environment"},
		{"POST", iosPath, "token=A&environment=development", textDeviceNotAdded, "environment"},
		{"PATCH", iosPath, "old_token=A&new_token=B&environment=staging", textDeviceUnchanged, "environment"},
		{"PATCH", iosPath, "old_token=A&new_token=B&app=unknown", textDeviceUnchanged, "app"},
		{"POST", androidPath, "reg_id=A&style=fancy", textDeviceNotAdded, "style"},
		{"POST", iosPath, "token=A&style=data", textDeviceNotAdded, "style"},
		{"POST", iosPath, "reg_id=A", textDeviceNotAdded, "token"},
		{"POST", iosPath, "token=..%2F3%2Fdevice", textDeviceNotAdded, "token"},
		{"POST", iosPath, "token=A&operating_system=%FF", textDeviceNotAdded, "operating_system"},
		{"PATCH", androidPath, "new_reg_id=B", textDeviceUnchanged, "old_reg_id"},
		{"PATCH", androidPath, "old_reg_id=A", textDeviceUnchanged, "new_reg_id"},
		{"PUT", iosPath, "new_token=B", textDeviceUnchanged, "old_token"},
		{"PATCH", iosPath, "old_token=A&new_token=a:b", textDeviceUnchanged, "new_token"},
		{"DELETE", androidPath, "", textOfCode + "invalid", "reg_id"},
		{"POST", iosPath, "token=a:b&provider=apns", textDeviceNotAdded, "token"},
		{"POST", iosPath, "token=a&provider=gcm", textDeviceNotAdded, "provider"},
		{"POST", iosPath, "token=a%20b&provider=fcm", textDeviceNotAdded, "token"},
		{"POST", iosPath, "token=a&provider=fcm&environment=sandbox", textDeviceNotAdded, "environment"},
		{"POST", androidPath, "fid=a.b", textDeviceNotAdded, "fid"},
		{"POST", androidPath, "fid=A&reg_id=B", textDeviceNotAdded, "fid"},
		{"POST", iosPath, "fid=A", textDeviceNotAdded, "token"},
		{"POST", iosPath, "fid=A&token=B&provider=fcm", textDeviceNotAdded, "fid"},
		{"POST", iosPath, "fid=a.b&provider=fcm", textDeviceNotAdded, "fid"},
		{"PATCH", androidPath, "old_reg_id=A&new_fid=a:b", textDeviceUnchanged, "new_fid"},
		{"PATCH", androidPath, "old_fid=a%20b&new_reg_id=A", textDeviceUnchanged, "old_fid"},
		{"PATCH", androidPath, "old_reg_id=A&new_fid=B&new_reg_id=C", textDeviceUnchanged, "new_fid"},
		{"DELETE", androidPath, "fid=A&reg_id=B", textOfCode + "invalid", "fid"},
		{"DELETE", logoutPath, "fid=A&token=B", textNotLoggedOut, "token"},
		{"DELETE", iosPath, "reg_id=A", textOfCode + "invalid", "token"},
		{"DELETE", logoutPath, "", textNotLoggedOut, "reg_id"},
		{"DELETE", logoutPath, "reg_id=A&token=B", textNotLoggedOut, "token"},
		{"DELETE", logoutPath, "token=a:b", textNotLoggedOut, "token"},
	} {
		e := w.fails(w.basic(ani, tc.method, tc.path, tc.form), 422, invalid, tc.field)
		if want := saying(text.Indonesian, tc.message); e.Message != want {
			t.Errorf("%s %s %s: message %q, want %q", tc.method, tc.path, tc.form, e.Message, want)
		}
	}
	e := w.fails(w.do(call{method: "POST", path: androidPath, auth: ani, media: "text/plain", body: "reg_id=A"}), 415, unsupportedMedia, "Content-Type")
	if e.Message != saying(text.Indonesian, textDeviceNotAdded) {
		t.Errorf("message %q", e.Message)
	}
	w.fails(w.do(call{method: "POST", path: androidPath, auth: ani, media: typeJSON, body: `{"reg_id":{}}`}), 422, invalid, "reg_id")
}

// A device names its app and its environment; a token has one owner whatever app is named.
func TestAppsOfDevices(t *testing.T) {
	w := newWorld(t, nil)
	list := func(user int64) (all []string) {
		listed, err := w.options.Devices.(*devices.Registry).List(t.Context(), user)
		check(t, err)
		for _, d := range listed {
			all = append(all, fmt.Sprintf("%s %s %s", d.Token, d.App, d.Environment))
		}
		return all
	}
	for _, tc := range []struct {
		auth, method, path, form string
		want                     []string // of user 66
	}{
		{ani, "POST", iosPath, "token=A&app=seller&environment=sandbox", []string{"A seller sandbox"}},
		{ani, "PATCH", iosPath, "old_token=A&new_token=B", []string{"B seller sandbox"}},
		{ani, "PATCH", iosPath, "old_token=B&new_token=C&app=default&environment=production", []string{"C default production"}},
		{ani, "POST", iosPath, "token=C", []string{"C  "}},
		{ani, "POST", androidPath, "reg_id=D&app=seller", []string{"C  ", "D seller "}},
		{ani, "POST", androidPath, "reg_id=D", []string{"C  ", "D  "}},
		{budi, "POST", androidPath, "reg_id=D&app=seller", []string{"C  "}},
	} {
		w.must(w.basic(tc.auth, tc.method, tc.path, tc.form), 200)
		if got := list(66); !slices.Equal(got, tc.want) {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.form, got, tc.want)
		}
	}
	if got := list(67); !slices.Equal(got, []string{"D seller "}) {
		t.Errorf("the other user has %q", got)
	}
}

// An Android phone is named by its registration token or its installation id, in each request.
func TestInstallationIDs(t *testing.T) {
	w := newWorld(t, nil)
	const fid = "dQw4w9WgXcQ_-0123456ab"
	for _, tc := range []struct {
		method, path, form string
		want               []string
	}{
		{"POST", androidPath, "fid=" + fid, []string{fid + " true"}},
		{"POST", androidPath, "reg_id=" + fid + ":APA91b", []string{fid + ":APA91b false"}},
		{"PATCH", androidPath, "old_reg_id=" + fid + ":APA91b&new_fid=" + fid, []string{fid + " true"}},
		{"DELETE", androidPath, "fid=" + fid, nil},
		{"POST", androidPath, "reg_id=old", []string{"old false"}},
		{"PATCH", androidPath, "old_reg_id=old&new_fid=" + fid, []string{fid + " true"}},
		{"PATCH", androidPath, "old_fid=" + fid + "&new_reg_id=new", []string{"new false"}},
		{"POST", androidPath, "fid=" + fid, []string{"new false", fid + " true"}},
		{"DELETE", logoutPath, "fid=" + fid, []string{"new false"}},
	} {
		w.must(w.basic(ani, tc.method, tc.path, tc.form), 200)
		listed, err := w.options.Devices.(*devices.Registry).List(t.Context(), 66)
		check(t, err)
		var got []string
		for _, d := range listed {
			got = append(got, fmt.Sprint(d.Token, " ", d.FID))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.form, got, tc.want)
		}
	}
	w.must(w.basic(ani, "PATCH", "/v2/notifications/config.json", "reg_id=new&config[private]=1"), 200)
	w.must(w.basic(ani, "POST", androidPath, "fid="+fid), 200)
	w.must(w.basic(ani, "GET", "/v2/notifications/config.json?fid="+fid, ""), 200)
}

// An iOS app on Firebase registers a token or an installation id of Firebase, and says so in
// each request.
func TestIOSAppsOnFirebase(t *testing.T) {
	w := newWorld(t, nil)
	for _, tc := range []struct {
		method, path, form string
		want               string
	}{
		{"POST", iosPath, "token=a:b&provider=fcm", "[ios fcm a:b]"},
		{"PATCH", iosPath, "old_token=a:b&new_token=c:d&provider=fcm", "[ios fcm c:d]"},
		{"PATCH", "/v2/notifications/config.json", "token=c:d&provider=fcm&config[private]=1", "[ios fcm c:d]"},
		{"GET", "/v2/notifications/config.json?provider=fcm&token=c:d", "", "[ios fcm c:d]"},
		{"DELETE", iosPath, "token=c:d&provider=fcm", "[]"},
		{"POST", iosPath, "token=e:f&provider=fcm", "[ios fcm e:f]"},
		{"DELETE", logoutPath, "token=e:f&provider=fcm", "[]"},
		{"POST", iosPath, "fid=A&provider=fcm", "[ios fcm A by id]"},
		{"GET", "/v2/notifications/config.json?fid=A", "", "[ios fcm A by id]"},
		{"PATCH", iosPath, "old_fid=A&new_token=g:h&provider=fcm", "[ios fcm g:h]"},
		{"PATCH", iosPath, "old_token=g:h&new_fid=B&provider=fcm", "[ios fcm B by id]"},
		{"DELETE", iosPath, "fid=B&provider=fcm", "[]"},
		{"POST", iosPath, "fid=C&provider=fcm", "[ios fcm C by id]"},
		{"DELETE", logoutPath, "fid=C", "[]"},
	} {
		w.must(w.basic(ani, tc.method, tc.path, tc.form), 200)
		listed, err := w.options.Devices.(*devices.Registry).List(t.Context(), 66)
		check(t, err)
		got := []string{}
		for _, d := range listed {
			said := fmt.Sprintf("%s %s %s", d.Platform, d.Provider, d.Token)
			if d.FID {
				said += " by id"
			}
			got = append(got, said)
		}
		if fmt.Sprint(got) != tc.want {
			t.Errorf("%s %s: %q, want %s", tc.method, tc.form, got, tc.want)
		}
	}
}

// Registrations and removals are limited by user and by address, apart from each other.
func TestRegistrationsAreLimited(t *testing.T) {
	w := newWorld(t, nil)
	w.server.Close()
	batcher := rdb.NewBatcher(w.redis, 0)
	t.Cleanup(batcher.Close)
	parts, few := rdb.NewPartitions(w.prefix, 4), ratelimit.Limits{PerUser: 4, PerAddress: 6}
	w.options.Limits.Registrations = ratelimit.New(batcher, parts, "registrations", few)
	w.options.Limits.Removals = ratelimit.New(batcher, parts, "removals", few)
	w.metrics = prometheus.NewRegistry()
	w.options.Metrics = w.metrics
	handler := New(w.options)
	w.server = httptest.NewServer(handler)

	// Of 4 in an hour, 2 are permitted at once.
	w.must(w.basic(ani, "POST", androidPath, "reg_id=A"), 200)
	w.must(w.basic(ani, "PATCH", androidPath, "old_reg_id=A&new_reg_id=B"), 200)
	for _, c := range []struct{ method, path, form string }{
		{"POST", androidPath, "reg_id=C"}, {"POST", iosPath, "token=C"}, {"PATCH", androidPath, "old_reg_id=B&new_reg_id=C"},
	} {
		got := w.basic(ani, c.method, c.path, c.form)
		e := w.fails(got, 429, rateLimited)
		if want := saying(text.Indonesian, textOfCode+string(rateLimited)); e.Message != want {
			t.Errorf("message %q, want %q", e.Message, want)
		}
		if s, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || s < 1 || s > 1800 {
			t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
		}
	}
	w.must(w.basic(ani, "DELETE", logoutPath, "reg_id=B"), 200)
	w.must(w.basic(ani, "DELETE", androidPath, "reg_id=B"), 200)
	w.fails(w.basic(ani, "DELETE", androidPath, "reg_id=B"), 429, rateLimited)
	w.fails(w.basic(ani, "DELETE", logoutPath, "reg_id=B"), 429, rateLimited)

	// Of an address 3 are permitted at once.
	from := func(user int, address string) int {
		t.Helper()
		auth := fmt.Sprint(user, ":tok3n")
		w.must(w.bearer(directory, "PUT", fmt.Sprintf("/v2/users/%d.json", user), `{"token":"tok3n"}`), 200)
		r := httptest.NewRequest("POST", androidPath, strings.NewReader(fmt.Sprint("reg_id=R", user)))
		name, token, _ := strings.Cut(auth, ":")
		r.SetBasicAuth(name, token)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.RemoteAddr = address
		answered := httptest.NewRecorder()
		handler.ServeHTTP(answered, r)
		return answered.Code
	}
	for i, want := range []int{200, 200, 200, 429} {
		if got := from(100+i, fmt.Sprint("192.0.2.1:", 5000+i)); got != want {
			t.Errorf("user %d behind one address: %d, want %d", i+1, got, want)
		}
	}
	if got := from(200, "192.0.2.2:5000"); got != 200 {
		t.Errorf("behind another address: %d", got)
	}
	for by, want := range map[string]float64{"user": 5, "address": 1} {
		if got := refusals(t, w.metrics, "kabar_registrations_refused_total", by); got != want {
			t.Errorf("%v refused by %s, want %v", got, by, want)
		}
	}
}

// refusals returns the count of requests refused because of a limit.
func refusals(t *testing.T, reg *prometheus.Registry, metric, by string) float64 {
	t.Helper()
	families, err := reg.Gather()
	check(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == metric && m.GetLabel()[0].GetValue() == by {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

func TestDeviceNames(t *testing.T) {
	w := newWorld(t, nil)
	// Each body uses one of the names of a parameter (that of the sample or that of the
	// table), in one of the places where it is allowed.
	for token, c := range map[string]call{
		"A": {media: typeForm, body: "reg_id=A&name=Lumpia&apps_version=1.0"},
		"B": {media: typeForm, body: "reg_id=B&product_name=Lumpia&app_version=1.0"},
		"C": {media: typeJSON, body: `{"reg_id":"C","name":"Lumpia","app_version":1.0}`},
		"D": {media: boundary, body: part("reg_id", "D") + part("name", "Lumpia") + part("app_version", "1.0") + "--XX--"},
		"E": {path: "?reg_id=E&name=Lumpia&app_version=1.0"},
	} {
		c.method, c.path, c.auth = "POST", androidPath+c.path, ani
		w.must(w.do(c), 200)
		stored := w.stored("devices:66")
		for _, want := range []string{`"t":"` + token + `"`, `"n":"Lumpia","v":"1.0"`} {
			if !strings.Contains(stored[token], want) {
				t.Errorf("%s: stored %s, want %s", token, stored[token], want)
			}
		}
	}
}

// stored returns the values of the hash whose key ends with name. They are keyed by device
// token, which must be one letter.
func (w *world) stored(name string) map[string]string {
	w.t.Helper()
	keys, err := w.redis.Keys(w.t.Context(), w.prefix+":*:"+name).Result()
	check(w.t, err)
	if len(keys) != 1 {
		w.t.Fatalf("keys of %s: %q", name, keys)
	}
	values, err := w.redis.HVals(w.t.Context(), keys[0]).Result()
	check(w.t, err)
	byToken := make(map[string]string)
	for _, v := range values {
		_, after, _ := strings.Cut(v, `"t":"`)
		byToken[after[:1]] = v
	}
	return byToken
}

func TestANewDeviceGetsTheReminder(t *testing.T) {
	senders, sent := accepting()
	w := newWorld(t, senders)
	w.must(w.basic(ani, "POST", androidPath, "reg_id=A"), 200)
	w.must(w.basic(ani, "POST", androidPath, "reg_id=A"), 200) // a refresh
	w.must(w.publish(`{"type":"announcement","receiver_id":66,"message":"m"}`), 202)
	keys, err := w.redis.Keys(t.Context(), w.prefix+":*:out:*").Result()
	check(t, err)
	if len(keys) != 1 || w.redis.XLen(t.Context(), keys[0]).Val() != 2 {
		t.Errorf("%q do not hold two entries", keys)
	}
	w.run()
	check(t, poll(func() bool { return len(sent) == 2 }))
	got := map[string]int{}
	for range 2 {
		got[<-sent]++
	}
	if got["reminder"] != 1 || got["announcement"] != 1 {
		t.Errorf("pushed %v", got)
	}
}
