package sandbox_test

import (
	"crypto/tls"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func TestAPNsAcceptsTheLibrarysPush(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	n := notification("ASD223SDA") // the documented sample of a device token
	n.ApnsID = "123e4567-e89b-12d3-a456-426655440000"
	n.CollapseID = "trx-1"
	n.Expiration = time.Now().Add(time.Hour)
	n.Priority = apns2.PriorityHigh
	resp, err := apnsClient(t, s).PushWithContext(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if !resp.Sent() || resp.ApnsID != n.ApnsID || resp.Reason != "" {
		t.Errorf("response is %+v", resp)
	}
	pushes := s.APNs.Pushes()
	if len(pushes) != 1 {
		t.Fatalf("%d pushes kept", len(pushes))
	}
	p := pushes[0]
	if p.Platform != sandbox.PlatformAPNs || p.Token != "ASD223SDA" || p.ID != n.ApnsID || p.Answer != 200 {
		t.Errorf("push is %+v", p)
	}
	if p.Header.Get("apns-collapse-id") != "trx-1" || p.Header.Get("apns-topic") != "id.pasar.app" {
		t.Errorf("header is %v", p.Header)
	}
	if string(p.Body) != `{"aps":{"alert":"halo"}}` {
		t.Errorf("body is %s", p.Body)
	}
}

func TestAPNsMakesAnID(t *testing.T) {
	s := start(t, sandbox.Options{})
	resp, err := apnsClient(t, s).PushWithContext(t.Context(), notification("a1"))
	if err != nil {
		t.Fatal(err)
	}
	if uuid.Validate(resp.ApnsID) != nil {
		t.Errorf("apns-id is %q", resp.ApnsID)
	}
}

func TestAPNsValidation(t *testing.T) {
	good := map[string]string{"apns-topic": "id.pasar.app", "apns-push-type": "alert", "apns-priority": "10"}
	with := func(name, value string) map[string]string {
		h := maps.Clone(good)
		h[name] = value
		return h
	}
	background := with("apns-push-type", "background")
	voip := with("apns-push-type", "voip")
	payload := func(n int) string { return `{"aps":"` + strings.Repeat("x", n-len(`{"aps":""}`)) + `"}` }
	const path = "/3/device/ASD223SDA"

	tests := []struct {
		name         string
		method, path string
		header       map[string]string
		body         string
		status       int
		reason       string
	}{
		{"good", "POST", path, good, `{}`, 200, ""},
		{"topic alone", "POST", path, map[string]string{"apns-topic": "a.b"}, `{"aps":{}}`, 200, ""},
		{"never stored", "POST", path, with("apns-expiration", "0"), `{}`, 200, ""},
		{"64 bytes of collapse id", "POST", path, with("apns-collapse-id", strings.Repeat("c", 64)), `{}`, 200, ""},
		{"200 characters of token", "POST", "/3/device/" + strings.Repeat("a", 200), good, `{}`, 200, ""},
		{"4096 bytes", "POST", path, good, payload(4096), 200, ""},
		{"5120 bytes of voip", "POST", path, voip, payload(5120), 200, ""},

		{"no topic", "POST", path, nil, `{}`, 400, "MissingTopic"},
		{"bad topic", "POST", path, with("apns-topic", "id pasar"), `{}`, 400, "BadTopic"},
		{"bad push type", "POST", path, with("apns-push-type", "loud"), `{}`, 400, "InvalidPushType"},
		{"bad priority", "POST", path, with("apns-priority", "7"), `{}`, 400, "BadPriority"},
		{"urgent background", "POST", path, background, `{}`, 400, "BadPriority"},
		{"bad id", "POST", path, with("apns-id", "123"), `{}`, 400, "BadMessageId"},
		{"id in braces", "POST", path, with("apns-id", "{123e4567-e89b-12d3-a456-426655440000}"), `{}`, 400, "BadMessageId"},
		{"bad expiration", "POST", path, with("apns-expiration", "tomorrow"), `{}`, 400, "BadExpirationDate"},
		{"negative expiration", "POST", path, with("apns-expiration", "-1"), `{}`, 400, "BadExpirationDate"},
		{"65 bytes of collapse id", "POST", path, with("apns-collapse-id", strings.Repeat("c", 65)), `{}`, 400, "BadCollapseId"},
		{"no payload", "POST", path, good, ``, 400, "PayloadEmpty"},
		{"no JSON", "POST", path, good, `{"aps":`, 400, "PayloadEmpty"},
		{"no object", "POST", path, good, `[]`, 400, "PayloadEmpty"},
		{"4097 bytes", "POST", path, good, payload(4097), 413, "PayloadTooLarge"},
		{"much too large", "POST", path, good, payload(1 << 20), 413, "PayloadTooLarge"},
		{"5121 bytes of voip", "POST", path, voip, payload(5121), 413, "PayloadTooLarge"},
		{"no token", "POST", "/3/device/", good, `{}`, 400, "MissingDeviceToken"},
		{"token with a slash", "POST", "/3/device/a%2Fb", good, `{}`, 400, "BadDeviceToken"},
		{"token with a dash", "POST", "/3/device/a-b", good, `{}`, 400, "BadDeviceToken"},
		{"201 characters of token", "POST", "/3/device/" + strings.Repeat("a", 201), good, `{}`, 400, "BadDeviceToken"},
		{"method", "GET", path, good, ``, 405, "MethodNotAllowed"},
		{"path", "POST", "/4/device/a", good, `{}`, 404, "BadPath"},
	}
	s := start(t, sandbox.Options{History: 100})
	client := httpClient(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := send(t, client, tt.method, s.APNs.Endpoint()+tt.path, tt.header, tt.body)
			if r.status != tt.status {
				t.Errorf("status is %d: %s", r.status, r.body)
			}
			if tt.reason == "" {
				if len(r.body) != 0 {
					t.Errorf("body is %s", r.body)
				}
				return
			}
			if got, want := string(r.body), `{"reason":"`+tt.reason+`"}`; got != want {
				t.Errorf("body is %s, want %s", got, want)
			}
		})
	}
	if got, want := len(s.Pushes()), len(tests)-2; got != want {
		t.Errorf("%d pushes kept, want %d: all but method and path", got, want)
	}
}

func TestAPNsRefusesRepeatedHeaders(t *testing.T) {
	s := start(t, sandbox.Options{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.APNs.Endpoint()+"/3/device/a", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Apns-Topic"] = []string{"a", "b"}
	resp, err := httpClient(t, s).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("status is %d", resp.StatusCode)
	}
}

func TestAPNsSpeaksHTTP2Alone(t *testing.T) {
	s := start(t, sandbox.Options{})
	for name, protocols := range map[string][]string{"offered": {"http/1.1"}, "nothing offered": nil} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: s.CAPool(), NextProtos: protocols},
				TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{},
			}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: testTimeout}
			resp, err := client.Post(s.APNs.Endpoint()+"/3/device/a", "", strings.NewReader("{}"))
			if err == nil {
				resp.Body.Close()
				t.Errorf("HTTP/1.1 is answered %d", resp.StatusCode)
			}
		})
	}
}

func TestAPNsResponses(t *testing.T) {
	gone := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	tests := []struct {
		name       string
		response   sandbox.Response
		status     int
		reason     string
		retryAfter string
		at         time.Time
	}{
		{"gone", sandbox.Response{Reason: "Unregistered", Timestamp: gone}, 410, "Unregistered", "", gone},
		{"expired token", sandbox.Response{Status: 410, Reason: "ExpiredToken", Timestamp: gone}, 410, "ExpiredToken", "", gone},
		{"by status", sandbox.Response{Status: 503, RetryAfter: 30 * time.Second}, 503, "ServiceUnavailable", "30", time.Time{}},
		{"by reason", sandbox.Response{Reason: "Shutdown"}, 503, "Shutdown", "", time.Time{}},
		{"slow down", sandbox.Response{Reason: "TooManyRequests", RetryAfter: time.Millisecond}, 429, "TooManyRequests", "1", time.Time{}},
		{"forbidden", sandbox.Response{Status: 403, Reason: "BadCertificate"}, 403, "BadCertificate", "", time.Time{}},
		{"unknown", sandbox.Response{Status: 418, Reason: "Teapot"}, 418, "Teapot", "", time.Time{}},
		{"unknown reason", sandbox.Response{Reason: "Teapot"}, 500, "Teapot", "", time.Time{}},
	}
	s := start(t, sandbox.Options{History: 100})
	library, raw := apnsClient(t, s), httpClient(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.APNs.Fail("a1", 2, tt.response)
			got, err := library.PushWithContext(t.Context(), notification("a1"))
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != tt.status || got.Reason != tt.reason || !got.Timestamp.Equal(tt.at) || uuid.Validate(got.ApnsID) != nil {
				t.Errorf("the library understands %+v", got)
			}
			r := send(t, raw, "POST", s.APNs.Endpoint()+"/3/device/a1", map[string]string{"apns-topic": "a"}, `{}`)
			if r.status != tt.status || r.header.Get("Retry-After") != tt.retryAfter {
				t.Errorf("answer is %d %v", r.status, r.header)
			}
			pushes := s.APNs.Pushes()
			if last := pushes[len(pushes)-1]; last.Answer != tt.status || last.Reason != tt.reason {
				t.Errorf("push is %+v", last)
			}
		})
	}
}

func TestAPNsGoneIsNowUnlessSaid(t *testing.T) {
	s := start(t, sandbox.Options{})
	before := time.Now().Truncate(time.Second)
	got, err := apnsClient(t, s).PushWithContext(t.Context(), notification("unregistered"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Timestamp.Before(before) || got.Timestamp.After(time.Now()) {
		t.Errorf("timestamp is %v", got.Timestamp)
	}
}
