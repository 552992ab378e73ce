// Package sandbox is a fake FCM and a fake APNs for the playground, tests and
// benchmarks. Both speak the real protocols over TLS and HTTP/2, so that the
// official SDKs work against them unchanged, check requests as the real services
// do, and answer in the real services' words.
//
// # Playing by hand
//
// A device token that begins with one of these words gets the matching answer;
// every other token takes its pushes.
//
//	token begins with   FCM                          APNs
//	unregistered        404 UNREGISTERED             410 Unregistered
//	expired             404 UNREGISTERED             410 ExpiredToken
//	badtoken            400 INVALID_ARGUMENT         400 BadDeviceToken
//	mismatch            403 SENDER_ID_MISMATCH       400 DeviceTokenNotForTopic
//	unauthorized        401 THIRD_PARTY_AUTH_ERROR   403 InvalidProviderToken
//	quota               429 QUOTA_EXCEEDED           429 TooManyRequests
//	broken              500 INTERNAL                 500 InternalServerError
//	unavailable         503 UNAVAILABLE              503 ServiceUnavailable
//
// # Scripting faults
//
// A test scripts answers with [Provider.Fail] and [Provider.Answer], slows a
// service down with [Provider.SetLatency], lets it hang with [Provider.Hang], and
// takes its connections away with [Provider.GoAway], [Provider.DropConnections],
// [Provider.Refuse] and [Provider.Outage]. Requests that the real service would
// not accept are refused before any script is asked.
//
// # What differs from the real services
//
// FCM asks for no OAuth access token. APNs allows its full number of streams from
// the start of a connection, where the real one allows a single stream until the
// first authenticated push succeeded, and its GOAWAY frames carry no reason:
// net/http lets a server change neither. APNs has no documented reason for a
// payload that is not JSON; it is answered with PayloadEmpty.
package sandbox
