// Package sandbox is a fake FCM, a fake APNs and a fake push service of browsers for the
// playground, tests and benchmarks. They speak the real protocols over TLS and HTTP/2, so
// that the official SDKs work with them unchanged. They validate requests and answer with the
// errors of the real services. The push service checks VAPID credentials, and the browsers
// that subscribe to it decrypt what they get.
//
// # Magic tokens
//
// A push to a device token with one of these prefixes gets the answer in the table;
// pushes to any other token are accepted.
//
//	prefix of the token FCM                          APNs                         Web Push
//	unregistered        404 UNREGISTERED             410 Unregistered             410 Gone
//	expired             404 UNREGISTERED             410 ExpiredToken             410 Gone
//	badtoken            400 INVALID_ARGUMENT         400 BadDeviceToken           404 NotFound
//	mismatch            403 SENDER_ID_MISMATCH       400 DeviceTokenNotForTopic   403 VAPIDMismatch
//	unauthorized        401 THIRD_PARTY_AUTH_ERROR   403 InvalidProviderToken     403 BadJWT
//	quota               429 QUOTA_EXCEEDED           429 TooManyRequests          429 TooManyRequests
//	broken              500 INTERNAL                 500 InternalServerError      500 InternalServerError
//	unavailable         503 UNAVAILABLE              503 ServiceUnavailable       503 ServiceUnavailable
//
// The token of a browser is the name that it gave to [WebPush.Subscribe].
//
// # Faults
//
// [Sandbox.Inject] starts one of [Faults] by its name, for all devices, for a share of them
// or for those that a function chooses. docs/faults.md describes them.
//
// A test can also set answers with [Provider.Fail] and [Provider.Answer] and the latency
// with [Provider.SetLatency], make requests hang with [Provider.Hang], and break
// connections with [Provider.GoAway], [Provider.DropConnections], [Provider.Refuse]
// and [Provider.Outage].
//
// Answers of either kind apply only to requests that the real service would accept; others
// get the service's own error.
//
// # Phones
//
// [Push.Shown] says what a phone shows of a push, whether the system or the app draws it, and
// a [Phone] keeps what is on its screen.
//
// # Differences from the real services
//
// FCM requires an OAuth access token only after [FCM.WriteCredentials], APNs a provider
// token only after [APNs.WriteKey]. Google documents the subjects and descriptions of
// FCM's QuotaFailure only in words; those of the sandbox are made up. APNs allows its
// full number of streams from the start of a connection, whereas the real one allows a
// single stream until the first authenticated push succeeded, and its GOAWAY frames
// carry no reason: net/http lets a server do neither. Apple documents no reason for a
// payload that is not JSON; the answer is PayloadEmpty. A real push service takes every body
// that is small enough, and the browser drops what it cannot decrypt; here the answer is 400.
package sandbox
