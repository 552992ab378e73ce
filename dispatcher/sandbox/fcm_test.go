package sandbox_test

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"firebase.google.com/go/v4/errorutils"
	"firebase.google.com/go/v4/messaging"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func TestFCMAcceptsTheSDKsMessage(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	ttl := 90 * time.Minute
	count := 3
	name, err := fcmClient(t, s).Send(t.Context(), &messaging.Message{
		//lint:ignore SA1019 registration tokens are still in use
		Token: "dQw4:APA91b",
		Data:  map[string]string{"type": "transaction", "details": `{"id":52001}`},
		Android: &messaging.AndroidConfig{
			Priority:    "high",
			TTL:         &ttl,
			CollapseKey: "k",
			Notification: &messaging.AndroidNotification{
				Title: "Transaksi baru", Body: "dari Liem", Tag: "trx", ChannelID: "money",
				NotificationCount: &count,
			},
		},
		APNS: &messaging.APNSConfig{Headers: map[string]string{"apns-priority": "10"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^projects/pasar/messages/0:\d+%[0-9a-f]+$`).MatchString(name) {
		t.Errorf("name is %q", name)
	}

	pushes := s.FCM.Pushes()
	if len(pushes) != 1 {
		t.Fatalf("%d pushes kept", len(pushes))
	}
	p := pushes[0]
	if p.Platform != sandbox.PlatformFCM || p.Token != "dQw4:APA91b" || p.ID != name || p.Answer != 200 || p.Reason != "" {
		t.Errorf("push is %+v", p)
	}
	message := decode[struct{ Data map[string]string }](t, reply{body: p.Body})
	if message.Data["type"] != "transaction" {
		t.Errorf("body is %s", p.Body)
	}
	if s.FCM.Count() != 1 || s.FCM.Accepted() != 1 || s.FCM.Pending() != 0 || s.APNs.Count() != 0 {
		t.Error("counters are wrong")
	}
}

func TestFCMDryRunIsNoPush(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	client := fcmClient(t, s)
	name, err := client.SendDryRun(t.Context(), to("abc"))
	if err != nil || name != "projects/pasar/messages/fake_message_id" {
		t.Errorf("SendDryRun = %q, %v", name, err)
	}
	if _, err = client.SendDryRun(t.Context(), to("unregistered")); !messaging.IsUnregistered(err) {
		t.Errorf("SendDryRun to a dead token: %v", err)
	}
	if s.FCM.Count() != 0 || len(s.Pushes()) != 0 {
		t.Error("a dry run counts as a push")
	}
}

// fcmError is Google's error envelope.
type fcmError struct {
	Error struct {
		Code            int
		Message, Status string
		Details         []map[string]any
	}
}

func badRequest(field, description string) map[string]any {
	violation := map[string]any{"description": description}
	if field != "" {
		violation["field"] = field
	}
	return map[string]any{
		"@type":           "type.googleapis.com/google.rpc.BadRequest",
		"fieldViolations": []any{violation},
	}
}

func fcmCode(code string) map[string]any {
	return map[string]any{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
}

func TestFCMValidation(t *testing.T) {
	const badFID = "The installation id is not a valid Firebase installation id"
	const badToken = "The registration token is not a valid FCM registration token"
	const androidEnum = "type.googleapis.com/google.firebase.fcm.v1.AndroidNotification."
	const tooLarge = "Message is too large. The maximum is 4K (4096 bytes)."
	untyped := func(field, text string) []map[string]any { return []map[string]any{badRequest(field, text)} }
	typed := func(field, text string) []map[string]any {
		return []map[string]any{badRequest(field, text), fcmCode("INVALID_ARGUMENT")}
	}
	data := func(n int) string { // returns data of n bytes
		return fmt.Sprintf(`{"message":{"token":"t","data":{"k":%q}}}`, strings.Repeat("x", n-1))
	}
	unknown := func(name, at string) string {
		return fmt.Sprintf("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", name, at)
	}
	invalid := func(field, kind, value string) string {
		return fmt.Sprintf("Invalid value at '%s' (%s), %s", field, kind, value)
	}

	tests := []struct {
		name, body string
		message    string // of the expected error; "" when accepted
		details    []map[string]any
	}{
		{"smallest", `{"message":{"token":"t"}}`, "", nil},
		{"spaces and escapes", " {\n\"message\" : { \"token\" : \"t\" , \"data\" : { \"a\\\"\" : \"}\" } } } ", "", nil},
		{"topic", `{"message":{"topic":"news"}}`, "", nil},
		{"nulls", `{"message":{"token":"t","topic":null,"android":null}}`, "", nil},
		{"camel case", `{"validateOnly":false,"message":{"token":"t","android":{"collapseKey":"k","notification":{"bodyLocKey":"b"}}}}`, "", nil},
		{"other platforms", `{"message":{"token":"t","webpush":{"headers":{}},"apns":{"payload":{"aps":{}}},"fcm_options":{}}}`, "", nil},
		{"presentation", `{"message":{"token":"t","fcm_options":{"analytics_label":"a-Z_9.~%"},"android":{"direct_boot_ok":true,` +
			`"notification":{"visibility":"SECRET","notificationPriority":"PRIORITY_MAX","channel_id":"c","image":"https://a","sound":"s"}}}}`, "", nil},
		{"exactly 4096 bytes", data(4096), "", nil},

		{"4097 bytes", data(4097), tooLarge,
			[]map[string]any{{"@type": "type.googleapis.com/google.rpc.BadRequest"}, fcmCode("INVALID_ARGUMENT")}},
		{"large in all", fmt.Sprintf(`{"message":{"token":"t","data":{"k":%q},"notification":{"body":%[1]q}}}`, strings.Repeat("x", 2100)), tooLarge,
			[]map[string]any{{"@type": "type.googleapis.com/google.rpc.BadRequest"}, fcmCode("INVALID_ARGUMENT")}},
		{"no JSON", `{"message":`, "Invalid JSON payload received. Unexpected token.",
			untyped("", "Invalid JSON payload received. Unexpected token.")},
		{"no message", `{}`, "Recipient of the message is not set.", typed("message", "Recipient of the message is not set.")},
		{"no target", `{"message":{"data":{}}}`, "Recipient of the message is not set.", typed("message", "Recipient of the message is not set.")},
		{"two targets", `{"message":{"token":"t","topic":"news"}}`, "Exactly one of token, fid, topic or condition is required.",
			typed("message", "Exactly one of token, fid, topic or condition is required.")},
		{"empty token", `{"message":{"token":""}}`, badToken, typed("message.token", badToken)},
		{"installation id with a colon", `{"message":{"fid":"a:b"}}`, badFID, typed("message.fid", badFID)},
		{"empty installation id", `{"message":{"fid":""}}`, badFID, typed("message.fid", badFID)},
		{"installation id that is a number", `{"message":{"fid":12}}`, invalid("message.fid", "TYPE_STRING", "12"),
			untyped("message.fid", invalid("message.fid", "TYPE_STRING", "12"))},
		{"token with a space", `{"message":{"token":"a b"}}`, badToken, typed("message.token", badToken)},
		{"token that is a number", `{"message":{"token":12}}`, invalid("message.token", "TYPE_STRING", "12"),
			untyped("message.token", invalid("message.token", "TYPE_STRING", "12"))},
		{"data value no string", `{"message":{"token":"t","data":{"a":"b","n":12}}}`, invalid("message.data[1].value", "TYPE_STRING", "12"),
			untyped("message.data[1].value", invalid("message.data[1].value", "TYPE_STRING", "12"))},
		{"data no object", `{"message":{"token":"t","data":"x"}}`, invalid("message.data", "TYPE_MESSAGE", `"x"`),
			untyped("message.data", invalid("message.data", "TYPE_MESSAGE", `"x"`))},
		{"reserved from", `{"message":{"token":"t","data":{"from":"x"}}}`, "Invalid data payload key: from",
			typed("message.data", "Invalid data payload key: from")},
		{"reserved message_type", `{"message":{"token":"t","data":{"message_type":"x"}}}`, "Invalid data payload key: message_type",
			typed("message.data", "Invalid data payload key: message_type")},
		{"reserved google.", `{"message":{"token":"t","android":{"data":{"google.x":"x"}}}}`, "Invalid data payload key: google.x",
			typed("message.android.data", "Invalid data payload key: google.x")},
		{"reserved gcm.", `{"message":{"token":"t","data":{"gcm.n":"x"}}}`, "Invalid data payload key: gcm.n",
			typed("message.data", "Invalid data payload key: gcm.n")},
		{"unknown at the top", `{"messages":{}}`, `Invalid JSON payload received. Unknown name "messages": Cannot find field.`,
			untyped("", `Invalid JSON payload received. Unknown name "messages": Cannot find field.`)},
		{"unknown in message", `{"message":{"to":"t"}}`, unknown("to", "message"), untyped("message", unknown("to", "message"))},
		{"unknown in notification", `{"message":{"notification":{"sound":"x"}}}`, unknown("sound", "message.notification"),
			untyped("message.notification", unknown("sound", "message.notification"))},
		{"unknown in android", `{"message":{"android":{"badge":1}}}`, unknown("badge", "message.android"),
			untyped("message.android", unknown("badge", "message.android"))},
		{"unknown in android.notification", `{"message":{"android":{"notification":{"thread":"x"}}}}`, unknown("thread", "message.android.notification"),
			untyped("message.android.notification", unknown("thread", "message.android.notification"))},
		{"unknown in apns", `{"message":{"apns":{"aps":{}}}}`, unknown("aps", "message.apns"), untyped("message.apns", unknown("aps", "message.apns"))},
		{"priority", `{"message":{"token":"t","android":{"priority":"urgent"}}}`,
			invalid("message.android.priority", "type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority", `"urgent"`),
			untyped("message.android.priority", invalid("message.android.priority", "type.googleapis.com/google.firebase.fcm.v1.AndroidMessagePriority", `"urgent"`))},
		{"label", `{"message":{"token":"t","fcm_options":{"analytics_label":"a b"}}}`, "Invalid analytics label.",
			typed("message.fcm_options.analytics_label", "Invalid analytics label.")},
		{"label no string", `{"message":{"token":"t","fcm_options":{"analytics_label":1}}}`, invalid("message.fcm_options.analytics_label", "TYPE_STRING", "1"),
			untyped("message.fcm_options.analytics_label", invalid("message.fcm_options.analytics_label", "TYPE_STRING", "1"))},
		{"unknown in fcm_options", `{"message":{"token":"t","fcm_options":{"link":"x"}}}`, unknown("link", "message.fcm_options"),
			untyped("message.fcm_options", unknown("link", "message.fcm_options"))},
		{"visibility", `{"message":{"token":"t","android":{"notification":{"visibility":"public"}}}}`,
			invalid("message.android.notification.visibility", androidEnum+"Visibility", `"public"`),
			untyped("message.android.notification.visibility", invalid("message.android.notification.visibility", androidEnum+"Visibility", `"public"`))},
		{"notification priority", `{"message":{"token":"t","android":{"notification":{"notification_priority":"HIGH"}}}}`,
			invalid("message.android.notification.notification_priority", androidEnum+"NotificationPriority", `"HIGH"`),
			untyped("message.android.notification.notification_priority", invalid("message.android.notification.notification_priority", androidEnum+"NotificationPriority", `"HIGH"`))},
		{"direct boot", `{"message":{"token":"t","android":{"direct_boot_ok":"yes"}}}`, invalid("message.android.direct_boot_ok", "TYPE_BOOL", `"yes"`),
			untyped("message.android.direct_boot_ok", invalid("message.android.direct_boot_ok", "TYPE_BOOL", `"yes"`))},
		{"ttl no duration", `{"message":{"token":"t","android":{"ttl":"1h"}}}`,
			invalid("message.android.ttl", "type.googleapis.com/google.protobuf.Duration", `"1h"`),
			untyped("message.android.ttl", invalid("message.android.ttl", "type.googleapis.com/google.protobuf.Duration", `"1h"`))},
		{"ttl too long", `{"message":{"token":"t","android":{"ttl":"2419201s"}}}`, "TTL must be at most 2419200 seconds.",
			typed("message.android.ttl", "TTL must be at most 2419200 seconds.")},
		{"android no object", `{"message":{"token":"t","android":[]}}`, invalid("message.android", "TYPE_MESSAGE", "[]"),
			untyped("message.android", invalid("message.android", "TYPE_MESSAGE", "[]"))},
	}
	s := start(t, sandbox.Options{History: 100})
	client := httpClient(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := send(t, client, "POST", s.FCM.Endpoint()+"/projects/p/messages:send", nil, tt.body)
			got := decode[fcmError](t, r).Error
			if tt.message == "" {
				if r.status != 200 {
					t.Errorf("answer is %d %s", r.status, r.body)
				}
				return
			}
			if r.status != 400 || got.Code != 400 || got.Status != "INVALID_ARGUMENT" {
				t.Errorf("answer is %d %s", r.status, r.body)
			}
			if got.Message != tt.message || !reflect.DeepEqual(got.Details, tt.details) {
				t.Errorf("answer is %s\nwant message %s\nwant details %v", r.body, tt.message, tt.details)
			}
			pushes := s.FCM.Pushes()
			if last := pushes[len(pushes)-1]; last.Answer != 400 || last.Reason != "INVALID_ARGUMENT" {
				t.Errorf("push is %+v", last)
			}
		})
	}
}

func TestFCMKnowsOnePath(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	client := httpClient(t, s)
	base := strings.TrimSuffix(s.FCM.Endpoint(), "/v1")
	for _, tt := range []struct{ method, path string }{
		{"GET", "/v1/projects/p/messages:send"},
		{"POST", "/v1/projects//messages:send"},
		{"POST", "/v1/projects/a/b/messages:send"},
		{"POST", "/v1/projects/p/messages"},
		{"POST", "/projects/p/messages:send"},
	} {
		r := send(t, client, tt.method, base+tt.path, nil, `{"message":{"token":"t"}}`)
		if r.status != 404 || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, r.status, r.body)
		}
	}
	if len(s.Pushes()) != 0 {
		t.Error("they count as pushes")
	}
}

func TestFCMResponses(t *testing.T) {
	tests := []struct {
		name     string
		response sandbox.Response
		status   int
		rpc      string
		reason   string // as recorded in the journal
		details  []map[string]any
		is       func(error) bool // how the SDK classifies the error
	}{
		{"unregistered", sandbox.Response{Reason: "UNREGISTERED"}, 404, "NOT_FOUND", "UNREGISTERED",
			[]map[string]any{fcmCode("UNREGISTERED")}, messaging.IsUnregistered},
		{"by status", sandbox.Response{Status: 404}, 404, "NOT_FOUND", "UNREGISTERED",
			[]map[string]any{fcmCode("UNREGISTERED")}, messaging.IsUnregistered},
		{"mismatch", sandbox.Response{Status: 403, Reason: "SENDER_ID_MISMATCH"}, 403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH",
			[]map[string]any{fcmCode("SENDER_ID_MISMATCH")}, messaging.IsSenderIDMismatch},
		{"third party", sandbox.Response{Reason: "THIRD_PARTY_AUTH_ERROR"}, 401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR",
			[]map[string]any{fcmCode("THIRD_PARTY_AUTH_ERROR")}, messaging.IsThirdPartyAuthError},
		{"quota", sandbox.Response{Reason: "QUOTA_EXCEEDED"}, 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED",
			[]map[string]any{fcmCode("QUOTA_EXCEEDED")}, messaging.IsQuotaExceeded},
		{"quota without details", sandbox.Response{Status: 429, NoDetails: true}, 429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED",
			nil, func(err error) bool { return errorutils.IsResourceExhausted(err) && !messaging.IsQuotaExceeded(err) }},
		{"internal", sandbox.Response{Reason: "INTERNAL"}, 500, "INTERNAL", "INTERNAL",
			[]map[string]any{fcmCode("INTERNAL")}, messaging.IsInternal},
		{"bad token", sandbox.Response{Reason: "INVALID_ARGUMENT"}, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
			[]map[string]any{fcmCode("INVALID_ARGUMENT"),
				badRequest("message.token", "The registration token is not a valid FCM registration token")},
			messaging.IsInvalidArgument},
		{"bad field", sandbox.Response{Status: 400, Field: "message.android.ttl"}, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT",
			[]map[string]any{fcmCode("INVALID_ARGUMENT"), badRequest("message.android.ttl", "Request contains an invalid argument.")},
			messaging.IsInvalidArgument},
		{"unknown code", sandbox.Response{Status: 400, Reason: "NEW"}, 400, "INVALID_ARGUMENT", "NEW",
			[]map[string]any{fcmCode("NEW")}, errorutils.IsInvalidArgument},
		{"unknown status", sandbox.Response{Status: 502}, 502, "UNKNOWN", "UNKNOWN", nil, errorutils.IsUnknown},
	}
	s := start(t, sandbox.Options{History: 100})
	sdk, raw := fcmClient(t, s), httpClient(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.FCM.Fail("t", 2, tt.response)
			if _, err := sdk.Send(t.Context(), to("t")); !tt.is(err) {
				t.Errorf("the SDK understands %v", err)
			}
			r := send(t, raw, "POST", s.FCM.Endpoint()+"/projects/p/messages:send", nil, `{"message":{"token":"t"}}`)
			got := decode[fcmError](t, r).Error
			if r.status != tt.status || got.Code != tt.status || got.Status != tt.rpc || !reflect.DeepEqual(got.Details, tt.details) {
				t.Errorf("answer is %d %s", r.status, r.body)
			}
			pushes := s.FCM.Pushes()
			if last := pushes[len(pushes)-1]; last.Answer != tt.status || last.Reason != tt.reason || last.ID != "" {
				t.Errorf("push is %+v", last)
			}
		})
	}
}

func TestFCMUnavailable(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	s.FCM.Fail("t", 1, sandbox.Response{Status: 503, RetryAfter: 1500 * time.Millisecond})
	r := send(t, httpClient(t, s), "POST", s.FCM.Endpoint()+"/projects/p/messages:send", nil, `{"message":{"token":"t"}}`)
	if r.status != 503 || r.header.Get("Retry-After") != "2" || decode[fcmError](t, r).Error.Status != "UNAVAILABLE" {
		t.Errorf("answer is %d %v %s", r.status, r.header, r.body)
	}

	// The SDK retries a 503 on its own.
	s.FCM.Fail("t", 1, sandbox.Response{Reason: "UNAVAILABLE"})
	if _, err := fcmClient(t, s).Send(t.Context(), to("t")); err != nil {
		t.Error(err)
	}
	if s.FCM.Count() != 3 || s.FCM.Accepted() != 1 {
		t.Errorf("%d answered, %d accepted", s.FCM.Count(), s.FCM.Accepted())
	}
}

func TestFCMSpeaksHTTP1Too(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := httpClient(t, s)
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	client.Transport.(*http.Transport).Protocols = new(http.Protocols)
	client.Transport.(*http.Transport).Protocols.SetHTTP1(true)
	r := send(t, client, "POST", s.FCM.Endpoint()+"/projects/p/messages:send", nil, `{"message":{"token":"t"}}`)
	if r.status != 200 {
		t.Errorf("answer is %d %s", r.status, r.body)
	}
}

func TestMagicTokens(t *testing.T) {
	tests := []struct {
		word       string
		fcmStatus  int
		fcmCode    string
		apnsStatus int
		apnsReason string
		webStatus  int
	}{
		{"unregistered", 404, "UNREGISTERED", 410, "Unregistered", 410},
		{"expired", 404, "UNREGISTERED", 410, "ExpiredToken", 410},
		{"badtoken", 400, "INVALID_ARGUMENT", 400, "BadDeviceToken", 404},
		{"mismatch", 403, "SENDER_ID_MISMATCH", 400, "DeviceTokenNotForTopic", 403},
		{"unauthorized", 401, "THIRD_PARTY_AUTH_ERROR", 403, "InvalidProviderToken", 403},
		{"quota", 429, "QUOTA_EXCEEDED", 429, "TooManyRequests", 429},
		{"broken", 500, "INTERNAL", 500, "InternalServerError", 500},
		{"unavailable", 503, "UNAVAILABLE", 503, "ServiceUnavailable", 503},
	}
	s := start(t, sandbox.Options{History: 100})
	raw, apns, key := httpClient(t, s), apnsClient(t, s), newVAPID(t)
	for _, tt := range tests {
		t.Run(tt.word, func(t *testing.T) {
			r := send(t, raw, "POST", s.FCM.Endpoint()+"/projects/p/messages:send", nil,
				fmt.Sprintf(`{"message":{"token":"%s-1"}}`, tt.word))
			pushes := s.FCM.Pushes()
			if got := pushes[len(pushes)-1].Reason; r.status != tt.fcmStatus || got != tt.fcmCode {
				t.Errorf("FCM says %d %s", r.status, got)
			}
			got, err := apns.PushWithContext(t.Context(), notification(tt.word+"1"))
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != tt.apnsStatus || got.Reason != tt.apnsReason {
				t.Errorf("APNs says %d %s", got.StatusCode, got.Reason)
			}
			if status, _, body := sendWeb(t, s, subscribe(t, s, tt.word+"-1", key), key, "halo", nil); status != tt.webStatus {
				t.Errorf("Web Push says %d %s", status, body)
			}
		})
	}
}

// A message may go to an installation id. An answer about it names its field.
func TestFCMInstallationID(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	const fid = "dQw4w9WgXcQ_-0123456ab"
	if _, err := fcmClient(t, s).Send(t.Context(), &messaging.Message{Fid: fid}); err != nil {
		t.Fatal(err)
	}
	if p := s.FCM.Pushes(); len(p) != 1 || p[0].Token != fid || !p[0].Accepted() {
		t.Errorf("the sandbox has %+v", p)
	}
	s.FCM.Fail(fid, 1, sandbox.Response{Reason: "UNREGISTERED"})
	if _, err := fcmClient(t, s).Send(t.Context(), &messaging.Message{Fid: fid}); !messaging.IsUnregistered(err) {
		t.Errorf("a dead installation: %v", err)
	}
}
