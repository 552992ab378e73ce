package main

import (
	"fmt"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// An explanation is what a provider's reason means, and what to do.
type explanation struct {
	status     int         // the HTTP status that comes with the reason; 0 for a reason of ours
	word       push.Reason // in place of the reason itself, unless empty
	meaning    string
	remedy     string
	unanswered bool // there was no answer of the provider; the error says why
}

// said returns the provider's answer as an operator would look it up.
func (e explanation) said(reason push.Reason) string {
	if e.word != "" {
		reason = e.word
	}
	if e.status == 0 {
		return string(reason)
	}
	return fmt.Sprint(e.status, " ", reason)
}

const (
	waitForProvider = "wait: pushes are kept and retried. An outage is shown at "
	fcmStatus       = "https://status.firebase.google.com"
	apnsStatus      = "https://developer.apple.com/system-status/"
	ourFault        = "please report this to Kabar's developers"
	keyPage         = "the developer account's page \"Certificates, Identifiers & Profiles\""
)

// fcmReasons explains FCM's answers ("REST error codes for the HTTP v1 API").
var fcmReasons = map[push.Reason]explanation{
	"UNAUTHENTICATED": {
		status: 401, meaning: "the access token is not accepted, not even a new one",
		remedy: "set fcm.credentials_file to a new key of a service account of the project (Google Cloud console: IAM, Service Accounts, Keys), and see that fcm.endpoint is Google's",
	},
	"PERMISSION_DENIED": {
		status: 403, meaning: "the service account may not push for this project, or the project has FCM switched off",
		remedy: "see that fcm.project_id is the project of the service account, give the account the role \"Firebase Cloud Messaging API Admin\", and enable the API fcm.googleapis.com in the project",
	},
	"NOT_FOUND": {
		status: 404, meaning: "there is no such project",
		remedy: "set fcm.project_id to the project_id in the app's google-services.json",
	},
	"SENDER_ID_MISMATCH": {
		status: 403, meaning: "the device tokens are of another project",
		remedy: "set fcm.project_id to the project_id in the app's google-services.json",
	},
	"THIRD_PARTY_AUTH_ERROR": {
		status: 401, meaning: "FCM's own key for APNs or web push is refused; Android is not affected",
		remedy: "upload a valid APNs key in the Firebase console: Project settings, Cloud Messaging",
	},
	"INVALID_ARGUMENT":   {status: 400, meaning: "the dry run itself is malformed", remedy: ourFault},
	"QUOTA_EXCEEDED":     {status: 429, meaning: "the project sends more than its quota", remedy: "slow broadcasts down, or ask Google for a higher quota"},
	"RESOURCE_EXHAUSTED": {status: 429, meaning: "the project sends more than its quota", remedy: "slow broadcasts down, or ask Google for a higher quota"},
	"INTERNAL":           {status: 500, meaning: "FCM has an internal fault", remedy: waitForProvider + fcmStatus},
	"UNAVAILABLE":        {status: 503, meaning: "FCM is overloaded or down", remedy: waitForProvider + fcmStatus},
	"http_404": {
		word: "404 without an error of FCM", meaning: "the endpoint is not FCM's",
		remedy: "correct fcm.endpoint, such as https://fcm.googleapis.com/v1",
	},
	"no_message_name": {
		word: "200 without a message name", meaning: "something in between answers in FCM's place",
		remedy: "correct fcm.endpoint, and look for a proxy or a captive portal",
	},
	"credentials": {
		unanswered: true, meaning: "Google gives us no access token",
		remedy: "set fcm.credentials_file to a new key of a service account of the project (Google Cloud console: IAM, Service Accounts, Keys)",
	},
	"access_token": {
		unanswered: true, meaning: "no access token could be fetched",
		remedy: "see that this machine reaches token_uri of fcm.credentials_file (https://oauth2.googleapis.com)",
	},
}

// tokenReasons explains the error codes of Google's token endpoint (RFC 6749, section 5.2).
var tokenReasons = map[string]explanation{
	"invalid_grant": {
		meaning: "the key was deleted, the service account is disabled or gone, or this machine's clock is wrong",
		remedy:  "see the clock first; then set fcm.credentials_file to a new key of a service account of the project (Google Cloud console: IAM, Service Accounts, Keys)",
	},
	"invalid_client":      {meaning: "the service account does not exist", remedy: "set fcm.credentials_file to a key of a service account of the project"},
	"unauthorized_client": {meaning: "the service account may not ask for this scope", remedy: "use a key of a service account of the project, not of a user or another product"},
}

// apnsReasons explains Apple's answers ("Handling notification responses from APNs").
var apnsReasons = map[push.Reason]explanation{
	"InvalidProviderToken": {
		status: 403, meaning: "the signature of the provider token is not accepted: the key was revoked, or key, key id and team id do not belong together",
		remedy: "compare apns.key_id and apns.team_id with " + keyPage + ", and apns.key_file with the file AuthKey_KEYID.p8; else create a new key",
	},
	"ExpiredProviderToken": {
		status: 403, meaning: "the provider token is older than an hour by Apple's clock, though it was just signed",
		remedy: "synchronise this machine's clock (NTP)",
	},
	"MissingProviderToken": {
		status: 403, meaning: "the request carried neither a provider token nor a certificate that counts",
		remedy: "set apns.key_file, apns.key_id and apns.team_id, or a valid apns.certificate_file",
	},
	"BadEnvironmentKeyIdInToken": {
		status: 403, meaning: "the key is only for the other environment",
		remedy: "use a key for both environments, or set apns.environment to that of the key",
	},
	"UnrelatedKeyIdInToken": {
		status: 403, meaning: "the key is for other topics, or of another team than earlier requests on this connection",
		remedy: "compare apns.key_id and apns.topic with " + keyPage,
	},
	"Forbidden": {
		status: 403, meaning: "the key or certificate may not push to this topic",
		remedy: "compare apns.topic with the app's bundle id, and see " + keyPage,
	},
	"BadCertificate": {
		status: 403, meaning: "the certificate is not accepted: it has expired, or was revoked",
		remedy: "create a new one for the app, and set apns.certificate_file",
	},
	"BadCertificateEnvironment": {
		status: 403, meaning: "the certificate is for the other environment",
		remedy: "set apns.environment to that of the certificate",
	},
	"BadTopic": {
		status: 400, meaning: "the topic is not a bundle id of this team",
		remedy: "set apns.topic to the app's bundle id",
	},
	"MissingTopic": {
		status: 400, meaning: "the certificate is for several topics, and the request names none",
		remedy: "set apns.topic to the app's bundle id",
	},
	"TopicDisallowed": {
		status: 400, meaning: "the key or certificate may not push to this topic",
		remedy: "compare apns.topic with the app's bundle id, and apns.team_id with the team that owns the app",
	},
	"DeviceTokenNotForTopic": {
		status: 400, meaning: "the device tokens are of another app",
		remedy: "set apns.topic to the bundle id of the app that registers the devices",
	},
	"TooManyProviderTokenUpdates": {
		status: 429, meaning: "the provider token was changed too often: something else uses the same key and signs for every request",
		remedy: "wait 20 minutes; find out what else uses the key, and give it one of its own",
	},
	"TooManyRequests":     {status: 429, meaning: "too many requests for one device token", remedy: "wait, then try again"},
	"InternalServerError": {status: 500, meaning: "APNs has an internal fault", remedy: waitForProvider + apnsStatus},
	"ServiceUnavailable":  {status: 503, meaning: "APNs is overloaded or down", remedy: waitForProvider + apnsStatus},
	"Shutdown":            {status: 503, meaning: "this server of APNs is shutting down", remedy: "try again"},
	"BadPath":             {status: 404, meaning: "the endpoint is not APNs'", remedy: "correct apns.endpoint, such as https://api.push.apple.com"},
	"MethodNotAllowed":    {status: 405, meaning: "the endpoint is not APNs'", remedy: "correct apns.endpoint, such as https://api.push.apple.com"},
	"http_404": {
		word: "404 without a reason of APNs", meaning: "the endpoint is not APNs'",
		remedy: "correct apns.endpoint, such as https://api.push.apple.com",
	},
	"provider_token": {
		word: "no request", meaning: "the provider token cannot be signed", remedy: "set apns.key_file to the .p8 file that Apple issued",
	},
}

// unansweredReasons explains attempts that ended without an answer, at either provider.
var unansweredReasons = map[push.Reason]explanation{
	"connection": {
		unanswered: true, meaning: "the connection failed",
		remedy: "see that this machine reaches the endpoint, through firewalls and without a proxy that ends HTTP/2",
	},
	"timeout": {
		unanswered: true, meaning: "it took too long",
		remedy: "see that this machine reaches the endpoint; a firewall may drop packets silently",
	},
	"private_address": {
		unanswered: true, meaning: "nothing was sent to an address that is not public",
		remedy: "see what the name resolves to, or set webpush.allow_private",
	},
	"canceled": {unanswered: true, meaning: "it took too long", remedy: "see that this machine reaches the endpoint"},
	"tls_certificate": {
		unanswered: true, meaning: "its certificate cannot be verified",
		remedy: "set ca_file, or find out who intercepts the connection",
	},
}
