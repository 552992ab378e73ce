package sandbox

import (
	"net/http"
	"slices"
	"time"
)

// A Fault is a way in which a real service is known to misbehave. [Sandbox.Inject] starts it.
type Fault struct {
	// Name is unique, such as "third-party-auth".
	Name string
	// Text says in one line what a service with the fault does.
	Text string
	// Devices says that the fault can be limited to some devices, with
	// FaultOptions.Tokens and Share.
	Devices bool
	// Counted says that the fault can be limited with FaultOptions.Times.
	Counted bool

	// fcm and apns are the answers of each service; nil for one that never gives it.
	fcm, apns *Response
	// probes says that a request without a device (FCM's validate_only, APNs' token of
	// zeros) gets the answer, too, when the fault is for all devices.
	probes bool
	// hangs says that the answer is held back.
	hangs bool
	// begin, unless nil, starts a fault that is no answer, at each of the services in at.
	// times is negative for no limit.
	begin func(p *Provider, times int) (end func(), err error)
	at    []string
}

// Services returns the services that can have the fault: PlatformFCM, PlatformAPNs or both.
func (f Fault) Services() []string {
	services := slices.Clone(f.at)
	if f.fcm != nil {
		services = append(services, PlatformFCM)
	}
	if f.apns != nil {
		services = append(services, PlatformAPNs)
	}
	return services
}

// Faults returns all faults, in the order of the guide.
func Faults() []Fault { return slices.Clone(faults) }

var faults = slices.Concat(fcmFaults, apnsFaults, answerFaults, connectionFaults)

const (
	textHTML = "text/html; charset=UTF-8"

	// Messages of FCM's errors.
	badCredentials = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."
	deniedProject  = "Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/sandbox' (or it may not exist)."
	projectQuota   = "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' of service 'fcm.googleapis.com' for consumer 'project_number:1'."
)

// fcmFaults are answers that only FCM gives.
var fcmFaults = []Fault{
	{Name: "unregistered", Text: "404 UNREGISTERED", Devices: true, Counted: true,
		fcm: &Response{Reason: codeUnregistered}},
	{Name: "unregistered-400", Text: "400 with the error code UNREGISTERED", Devices: true, Counted: true,
		fcm: &Response{Status: http.StatusBadRequest, Reason: codeUnregistered, Message: "Request contains an invalid argument."}},
	{Name: "invalid-registration", Text: "400 that says InvalidRegistration and names no field", Devices: true, Counted: true,
		fcm: &Response{Reason: codeInvalidArgument, Message: "InvalidRegistration"}},
	{Name: "invalid-registration-token", Text: "400 that says Invalid Registration Token, in capitals, and names no field", Devices: true, Counted: true,
		fcm: &Response{Reason: codeInvalidArgument, Message: "Invalid Registration Token"}},
	{Name: "invalid-token-field", Text: "400 with a violation of message.token", Devices: true, Counted: true,
		fcm: &Response{Reason: codeInvalidArgument, Field: tokenField}},
	{Name: "invalid-fid", Text: "400 with a violation of message.fid", Devices: true, Counted: true,
		fcm: &Response{Reason: codeInvalidArgument, Field: "message.fid"}},
	{Name: "mismatch", Text: "403 SENDER_ID_MISMATCH", Devices: true, Counted: true,
		fcm: &Response{Reason: "SENDER_ID_MISMATCH"}},
	{Name: "third-party-auth", Text: "401 THIRD_PARTY_AUTH_ERROR", Devices: true, Counted: true,
		fcm: &Response{Reason: "THIRD_PARTY_AUTH_ERROR"}},
	{Name: "quota", Text: "429 RESOURCE_EXHAUSTED without details", Devices: true, Counted: true,
		fcm: &Response{Reason: "QUOTA_EXCEEDED", NoDetails: true}},
	{Name: "quota-device", Text: "429 QUOTA_EXCEEDED with a QuotaFailure of the device", Devices: true, Counted: true,
		fcm: &Response{Reason: "QUOTA_EXCEEDED", QuotaSubject: "device", Message: "Device message rate exceeded."}},
	{Name: "quota-project", Text: "429 QUOTA_EXCEEDED with a QuotaFailure of the project", Devices: true, Counted: true, probes: true,
		fcm: &Response{Reason: "QUOTA_EXCEEDED", QuotaSubject: "project:sandbox", Message: projectQuota}},
	{Name: "retry-after-hour", Text: "429 QUOTA_EXCEEDED with Retry-After: 3600", Devices: true, Counted: true,
		fcm: &Response{Reason: "QUOTA_EXCEEDED", RetryAfter: time.Hour}},
	{Name: "unauthenticated", Text: "401 UNAUTHENTICATED without details", Devices: true, Counted: true, probes: true,
		fcm: &Response{Status: http.StatusUnauthorized, NoDetails: true, Message: badCredentials}},
	{Name: "expired-access-token", Text: "401 UNAUTHENTICATED for the access tokens given out so far, at once and every second", Counted: true,
		at: []string{PlatformFCM}, begin: expireAccessTokens},
	{Name: "invalid-grant", Text: "the token endpoint answers 400 invalid_grant, and former access tokens have expired",
		at: []string{PlatformFCM}, begin: refuseGrants},
	{Name: "not-found", Text: "404 NOT_FOUND without details, as for a wrong project", Devices: true, Counted: true, probes: true,
		fcm: &Response{Status: http.StatusNotFound, NoDetails: true}},
	{Name: "empty-200", Text: "200 without a body", Devices: true, Counted: true, probes: true,
		fcm: &Response{Body: []byte{}}},
	{Name: "html-200", Text: "200 with HTML", Devices: true, Counted: true, probes: true,
		fcm: &Response{Body: []byte("<!DOCTYPE html>\n<html lang=en><title>Sign in</title>\n"), Header: http.Header{"Content-Type": {textHTML}}}},
	{Name: "broken-json-200", Text: "200 with JSON that is cut off", Devices: true, Counted: true, probes: true,
		fcm: &Response{Body: []byte("{\n  \"name\": \"projects/sand"), Header: http.Header{"Content-Type": {typeJSON}}}},
	{Name: "nameless-200", Text: "200 with an empty JSON object: no message name", Devices: true, Counted: true, probes: true,
		fcm: &Response{Body: []byte("{}\n"), Header: http.Header{"Content-Type": {typeJSON}}}},
}

// longAgo is before any device was registered.
var longAgo = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)

// apnsFaults are answers that only APNs gives.
var apnsFaults = []Fault{
	{Name: "bad-device-token", Text: "400 BadDeviceToken", Devices: true, Counted: true,
		apns: &Response{Reason: "BadDeviceToken"}},
	{Name: "not-for-topic", Text: "400 DeviceTokenNotForTopic", Devices: true, Counted: true,
		apns: &Response{Reason: "DeviceTokenNotForTopic"}},
	{Name: "gone", Text: "410 Unregistered since now", Devices: true, Counted: true,
		apns: &Response{Reason: "Unregistered"}},
	{Name: "gone-old", Text: "410 Unregistered since 2020, before the device was registered", Devices: true, Counted: true,
		apns: &Response{Reason: "Unregistered", Timestamp: longAgo}},
	{Name: "gone-timeless", Text: "410 Unregistered without a timestamp", Devices: true, Counted: true,
		apns: &Response{Reason: "Unregistered", NoDetails: true}},
	{Name: "gone-html", Text: "410 with HTML", Devices: true, Counted: true, probes: true,
		apns: htmlAnswer(http.StatusGone)},
	{Name: "expired-provider-token", Text: "403 ExpiredProviderToken", Devices: true, Counted: true, probes: true,
		apns: &Response{Reason: "ExpiredProviderToken"}},
	{Name: "invalid-provider-token", Text: "403 InvalidProviderToken", Devices: true, Counted: true, probes: true,
		apns: &Response{Reason: "InvalidProviderToken"}},
	{Name: "bad-topic", Text: "400 BadTopic", Devices: true, Counted: true, probes: true,
		apns: &Response{Reason: "BadTopic"}},
	{Name: "too-many-requests", Text: "429 TooManyRequests", Devices: true, Counted: true,
		apns: &Response{Reason: "TooManyRequests"}},
	{Name: "too-many-token-updates", Text: "429 TooManyProviderTokenUpdates", Devices: true, Counted: true, probes: true,
		apns: &Response{Reason: "TooManyProviderTokenUpdates"}},
	{Name: "shutdown", Text: "503 Shutdown", Devices: true, Counted: true, probes: true,
		apns: &Response{Reason: "Shutdown"}},
}

// answerFaults are answers that both services give, each in its own form.
var answerFaults = []Fault{
	{Name: "forbidden", Text: "403: FCM's PERMISSION_DENIED without details, APNs' Forbidden", Devices: true, Counted: true, probes: true,
		fcm:  &Response{Status: http.StatusForbidden, NoDetails: true, Message: deniedProject},
		apns: &Response{Reason: "Forbidden"}},
	{Name: "html", Text: "404 with HTML, as of a front end or a proxy", Devices: true, Counted: true, probes: true,
		fcm: htmlAnswer(http.StatusNotFound), apns: htmlAnswer(http.StatusNotFound)},
	{Name: "html-502", Text: "502 with HTML, as of a front end or a proxy", Devices: true, Counted: true, probes: true,
		fcm: htmlAnswer(http.StatusBadGateway), apns: htmlAnswer(http.StatusBadGateway)},
	{Name: "redirect", Text: "302 to another path, as of a captive portal", Devices: true, Counted: true, probes: true,
		fcm: redirect, apns: redirect},
	{Name: "unavailable", Text: "503: FCM's UNAVAILABLE, APNs' ServiceUnavailable", Devices: true, Counted: true, probes: true,
		fcm: &Response{Reason: "UNAVAILABLE"}, apns: &Response{Reason: "ServiceUnavailable"}},
	{Name: "internal", Text: "500: FCM's INTERNAL, APNs' InternalServerError", Devices: true, Counted: true, probes: true,
		fcm: &Response{Reason: "INTERNAL"}, apns: &Response{Reason: "InternalServerError"}},
}

// htmlAnswer is an error page.
func htmlAnswer(status int) *Response {
	page := "<!DOCTYPE html>\n<html lang=en>\n  <title>" + http.StatusText(status) + "</title>\n  <p>That’s an error.\n"
	return &Response{Status: status, Body: []byte(page), Header: http.Header{"Content-Type": {textHTML}}}
}

var redirect = &Response{
	Status: http.StatusFound,
	Body:   []byte("<a href=\"/portal\">Found</a>.\n"),
	Header: http.Header{"Location": {"/portal"}, "Content-Type": {textHTML}},
}

var bothServices = []string{PlatformFCM, PlatformAPNs}

// connectionFaults are those of connections.
var connectionFaults = []Fault{
	{Name: "reset", Text: "the push is processed and its stream reset: no answer", Devices: true, Counted: true, probes: true,
		fcm: &Response{Lost: true}, apns: &Response{Lost: true}},
	{Name: "hang", Text: "requests get no answer; pings do", Devices: true, Counted: true, probes: true, hangs: true,
		fcm: &Response{}, apns: &Response{}},
	{Name: "hang-connection", Text: "the same on one connection, or on Times of them", Counted: true,
		at: bothServices, begin: hangConnections},
	{Name: "silent-drop", Text: "nothing arrives on any connection, in neither direction",
		at: bothServices, begin: func(p *Provider, _ int) (func(), error) { return p.silence(), nil }},
	{Name: "stall-handshake", Text: "TCP accepts new connections; their TLS handshakes do not begin", Counted: true,
		at: bothServices, begin: func(p *Provider, times int) (func(), error) { return p.stallHandshakes(times), nil }},
	{Name: "refuse", Text: "all connections are reset, and new ones are refused",
		at: bothServices, begin: refuseConnections},
	{Name: "drop", Text: "all connections are reset, at once and every second", Counted: true,
		at: bothServices, begin: func(p *Provider, times int) (func(), error) { return p.repeat(times, p.DropConnections), nil }},
	{Name: "goaway", Text: "all connections get GOAWAY, at once and every second", Counted: true,
		at: bothServices, begin: func(p *Provider, times int) (func(), error) { return p.repeat(times, p.GoAway), nil }},
	{Name: "one-stream", Text: "SETTINGS allow one stream on each connection",
		at: bothServices, begin: func(p *Provider, _ int) (func(), error) { return p.allowStreams(1), nil }},
}
