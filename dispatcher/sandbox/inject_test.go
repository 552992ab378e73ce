package sandbox_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"firebase.google.com/go/v4/messaging"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// inject starts a fault. It returns the function that ends it.
func inject(t testing.TB, s *sandbox.Sandbox, name string, o sandbox.FaultOptions) func() {
	t.Helper()
	remove, err := s.Inject(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return remove
}

// A poster sends pushes to one service over HTTP/2, without an SDK.
type poster func(t testing.TB, client *http.Client, token string) reply

// posters returns a poster for each service.
func posters(s *sandbox.Sandbox) map[string]poster {
	return map[string]poster{
		sandbox.PlatformFCM: func(t testing.TB, client *http.Client, token string) reply {
			t.Helper()
			body := `{"message":{"token":"` + token + `"}}`
			return send(t, client, "POST", s.FCM.Endpoint()+"/projects/pasar/messages:send", nil, body)
		},
		sandbox.PlatformAPNs: func(t testing.TB, client *http.Client, token string) reply {
			t.Helper()
			return send(t, client, "POST", s.APNs.Endpoint()+"/3/device/"+token, map[string]string{"apns-topic": "a.b"}, `{}`)
		},
	}
}

// answers are the faults that are answers, with what is in the bodies of FCM and APNs.
var answers = map[string]struct {
	status    int
	fcm, apns string
	header    string // name and value of a header field
}{
	"unregistered":               {404, `"errorCode": "UNREGISTERED"`, "", ""},
	"unregistered-400":           {400, `"errorCode": "UNREGISTERED"`, "", ""},
	"invalid-registration":       {400, `"message": "InvalidRegistration"`, "", ""},
	"invalid-registration-token": {400, `"message": "Invalid Registration Token"`, "", ""},
	"invalid-token-field":        {400, `"field": "message.token"`, "", ""},
	"invalid-fid":                {400, `"field": "message.fid"`, "", ""},
	"mismatch":                   {403, `"errorCode": "SENDER_ID_MISMATCH"`, "", ""},
	"third-party-auth":           {401, `"errorCode": "THIRD_PARTY_AUTH_ERROR"`, "", ""},
	"quota":                      {429, `"status": "RESOURCE_EXHAUSTED"`, "", "Retry-After: "},
	"quota-device":               {429, `"subject": "device"`, "", ""},
	"quota-project":              {429, `"subject": "project:sandbox"`, "", ""},
	"retry-after-hour":           {429, `"errorCode": "QUOTA_EXCEEDED"`, "", "Retry-After: 3600"},
	"unauthenticated":            {401, `"status": "UNAUTHENTICATED"`, "", ""},
	"not-found":                  {404, `"status": "NOT_FOUND"`, "", ""},
	"empty-200":                  {200, "", "", "Content-Type: "},
	"html-200":                   {200, "<!DOCTYPE html>", "", "Content-Type: text/html; charset=UTF-8"},
	"broken-json-200":            {200, `{` + "\n" + `  "name": "projects/sand`, "", ""},
	"nameless-200":               {200, "{}", "", ""},
	"bad-device-token":           {400, "", `{"reason":"BadDeviceToken"}`, ""},
	"not-for-topic":              {400, "", `{"reason":"DeviceTokenNotForTopic"}`, ""},
	"gone":                       {410, "", `{"reason":"Unregistered","timestamp":`, ""},
	"gone-old":                   {410, "", `{"reason":"Unregistered","timestamp":1577836800000}`, ""},
	"gone-timeless":              {410, "", `{"reason":"Unregistered"}`, ""},
	"gone-html":                  {410, "", "<!DOCTYPE html>", "Content-Type: text/html; charset=UTF-8"},
	"expired-provider-token":     {403, "", `{"reason":"ExpiredProviderToken"}`, ""},
	"invalid-provider-token":     {403, "", `{"reason":"InvalidProviderToken"}`, ""},
	"bad-topic":                  {400, "", `{"reason":"BadTopic"}`, ""},
	"too-many-requests":          {429, "", `{"reason":"TooManyRequests"}`, ""},
	"too-many-token-updates":     {429, "", `{"reason":"TooManyProviderTokenUpdates"}`, ""},
	"shutdown":                   {503, "", `{"reason":"Shutdown"}`, ""},
	"forbidden":                  {403, `"status": "PERMISSION_DENIED"`, `{"reason":"Forbidden"}`, ""},
	"html":                       {404, "<!DOCTYPE html>", "<!DOCTYPE html>", "Content-Type: text/html; charset=UTF-8"},
	"html-502":                   {502, "<!DOCTYPE html>", "<!DOCTYPE html>", "Content-Type: text/html; charset=UTF-8"},
	"redirect":                   {302, "/portal", "/portal", "Location: /portal"},
	"unavailable":                {503, `"errorCode": "UNAVAILABLE"`, `{"reason":"ServiceUnavailable"}`, ""},
	"internal":                   {500, `"errorCode": "INTERNAL"`, `{"reason":"InternalServerError"}`, ""},
}

// elsewhere are the faults that have a test of their own.
var elsewhere = []string{
	"expired-access-token", "invalid-grant", "reset", "hang", "hang-connection", "silent-drop", "stall-handshake",
	"refuse", "drop", "goaway", "one-stream",
}

func TestEveryFaultHasATest(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range sandbox.Faults() {
		_, answered := answers[f.Name]
		if answered == strings.Contains(" "+strings.Join(elsewhere, " ")+" ", " "+f.Name+" ") {
			t.Errorf("%s is in both lists or in none", f.Name)
		}
		if seen[f.Name] || f.Text == "" || len(f.Services()) == 0 {
			t.Errorf("%+v: not unique, or without a text or service", f)
		}
		seen[f.Name] = true
	}
	if got, want := len(seen), len(answers)+len(elsewhere); got != want {
		t.Errorf("%d faults, %d are tested", got, want)
	}
}

func TestFaultsThatAreAnswers(t *testing.T) {
	s := start(t, sandbox.Options{History: 1})
	client := httpClient(t, s)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for name, want := range answers {
		f, err := sandbox.FindFault(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			remove := inject(t, s, name, sandbox.FaultOptions{})
			defer remove()
			for service, post := range posters(s) {
				text := map[string]string{sandbox.PlatformFCM: want.fcm, sandbox.PlatformAPNs: want.apns}[service]
				has := strings.Contains(strings.Join(f.Services(), " "), service)
				accepted := s.FCM.Accepted() + s.APNs.Accepted()
				r := post(t, client, "a")
				if !has {
					if r.status != 200 || s.FCM.Accepted()+s.APNs.Accepted() != accepted+1 {
						t.Errorf("%s, which has no such fault, answers %d %s", service, r.status, r.body)
					}
					continue
				}
				field, value, _ := strings.Cut(want.header, ": ")
				if r.status != want.status || !strings.HasPrefix(r.header.Get(field), value) && field != "" || !strings.Contains(string(r.body), text) || text == "" && len(r.body) > 0 {
					t.Errorf("%s answers %d %v %s", service, r.status, r.header, r.body)
				}
				if p := s.Pushes(); s.FCM.Accepted()+s.APNs.Accepted() != accepted || p[len(p)-1].Accepted() {
					t.Errorf("%s counts the push as accepted", service)
				}
			}
			remove()
			for service, post := range posters(s) {
				if r := post(t, client, "a"); r.status != 200 || service == sandbox.PlatformFCM && !strings.Contains(string(r.body), `"name": "projects/pasar/messages/`) {
					t.Errorf("%s, without the fault, answers %d %s", service, r.status, r.body)
				}
			}
		})
	}
}

// TestQuotaFailure checks the details that tell a device's quota from the project's.
func TestQuotaFailure(t *testing.T) {
	s := start(t, sandbox.Options{})
	defer inject(t, s, "quota-project", sandbox.FaultOptions{})()
	_, err := fcmClient(t, s).Send(t.Context(), to("a"))
	if !messaging.IsQuotaExceeded(err) {
		t.Errorf("the SDK does not understand %v", err)
	}
	type envelope struct {
		Error struct {
			Status  string
			Details []struct {
				Type       string `json:"@type"`
				Violations []struct{ Subject, Description string }
			}
		}
	}
	r := posters(s)[sandbox.PlatformFCM](t, httpClient(t, s), "a")
	e := decode[envelope](t, r).Error
	if e.Status != "RESOURCE_EXHAUSTED" || len(e.Details) != 2 || e.Details[1].Type != "type.googleapis.com/google.rpc.QuotaFailure" ||
		len(e.Details[1].Violations) != 1 || !strings.Contains(e.Details[1].Violations[0].Description, "Send requests per minute") {
		t.Errorf("answer is %s", r.body)
	}
}

// TestUnregisteredWith400 checks that the canonical code follows from the HTTP status.
func TestUnregisteredWith400(t *testing.T) {
	s := start(t, sandbox.Options{})
	defer inject(t, s, "unregistered-400", sandbox.FaultOptions{})()
	r := posters(s)[sandbox.PlatformFCM](t, httpClient(t, s), "a")
	if !strings.Contains(string(r.body), `"status": "INVALID_ARGUMENT"`) {
		t.Errorf("answer is %s", r.body)
	}
}

func TestFaultOfSomeDevices(t *testing.T) {
	const devices = 1000
	share := sandbox.FaultOptions{Share: 0.3}
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	post := posters(s)[sandbox.PlatformAPNs]
	defer inject(t, s, "gone", share)()
	defer inject(t, s, "shutdown", sandbox.FaultOptions{Tokens: func(token string) bool { return token == "only" }})()

	chosen := 0
	for i := range devices {
		token := fmt.Sprintf("token%d", i)
		if share.Chosen("gone", token) {
			chosen++
		}
		if i >= 20 {
			continue // the others are only counted
		}
		want := map[bool]int{true: 410, false: 200}[share.Chosen("gone", token)]
		for range 2 {
			if r := post(t, client, token); r.status != want {
				t.Errorf("%s: answer is %d, not %d", token, r.status, want)
			}
		}
	}
	if chosen < devices/4 || chosen > devices/3+20 {
		t.Errorf("%d of %d devices are chosen", chosen, devices)
	}
	if r := post(t, client, "only"); r.status != 503 {
		t.Errorf("the device that Tokens chooses: %d", r.status)
	}
}

func TestFaultIsCounted(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	inject(t, s, "internal", sandbox.FaultOptions{Times: 2})
	for service, post := range posters(s) {
		for i, want := range []int{500, 500, 200} {
			if r := post(t, client, "a"); r.status != want {
				t.Errorf("%s, push %d: %d, not %d", service, i, r.status, want)
			}
		}
	}
}

func TestFaultOfOneService(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	defer inject(t, s, "html", sandbox.FaultOptions{Service: sandbox.PlatformFCM})()
	want := map[string]int{sandbox.PlatformFCM: 404, sandbox.PlatformAPNs: 200}
	for service, post := range posters(s) {
		if r := post(t, client, "a"); r.status != want[service] {
			t.Errorf("%s answers %d", service, r.status)
		}
	}
}

// TestFaultsAndProbes checks which faults a request without a device gets: those of the
// service, but none of devices.
func TestFaultsAndProbes(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	client := httpClient(t, s)
	probe := func() (fcm, apns int) {
		r := send(t, client, "POST", s.FCM.Endpoint()+"/projects/pasar/messages:send", nil, `{"validate_only":true,"message":{"token":"a"}}`)
		return r.status, posters(s)[sandbox.PlatformAPNs](t, client, strings.Repeat("0", 64)).status
	}
	for _, tt := range []struct {
		name      string
		o         sandbox.FaultOptions
		fcm, apns int
	}{
		{"forbidden", sandbox.FaultOptions{}, 403, 403},
		{"forbidden", sandbox.FaultOptions{Share: 1}, 200, 400},
		{"gone", sandbox.FaultOptions{}, 200, 400},
		{"unregistered", sandbox.FaultOptions{}, 200, 400},
		{"third-party-auth", sandbox.FaultOptions{}, 200, 400},
	} {
		remove := inject(t, s, tt.name, tt.o)
		if fcm, apns := probe(); fcm != tt.fcm || apns != tt.apns {
			t.Errorf("%s %+v: FCM %d, APNs %d", tt.name, tt.o, fcm, apns)
		}
		remove()
	}
	if n := len(s.Pushes()); n != 0 {
		t.Errorf("%d probes are recorded as pushes", n)
	}
}

func TestInjectRefuses(t *testing.T) {
	s := start(t, sandbox.Options{})
	device := func(string) bool { return true }
	for _, tt := range []struct {
		name string
		o    sandbox.FaultOptions
	}{
		{"gone", sandbox.FaultOptions{Service: sandbox.PlatformFCM}},
		{"gone", sandbox.FaultOptions{Share: 1.1}},
		{"gone", sandbox.FaultOptions{Share: -0.1}},
		{"gone", sandbox.FaultOptions{Times: -1}},
		{"refuse", sandbox.FaultOptions{Tokens: device}},
		{"refuse", sandbox.FaultOptions{Times: 1}},
		{"goaway", sandbox.FaultOptions{Share: 0.5}},
		{"invalid-grant", sandbox.FaultOptions{}}, // there are no credentials
		{"expired-access-token", sandbox.FaultOptions{}},
	} {
		if _, err := s.Inject(tt.name, tt.o); err == nil || errors.Is(err, sandbox.ErrUnknownFault) {
			t.Errorf("%s %+v: %v", tt.name, tt.o, err)
		}
	}
	if _, err := s.Inject("nonsense", sandbox.FaultOptions{}); !errors.Is(err, sandbox.ErrUnknownFault) {
		t.Error(err)
	}
}
