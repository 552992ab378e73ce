package provider_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	webpushgo "github.com/SherClockHolmes/webpush-go"

	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/fcm"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// A subject is a sender with what the conformance tests need to know of its provider. Every
// sender has one: all tests run for it.
type subject struct {
	name string
	// service returns the provider in the sandbox.
	service func(*sandbox.Sandbox) *sandbox.Provider
	// open makes a sender to a sandbox whose service it finds at an address, host:port.
	open func(t *testing.T, sb *sandbox.Sandbox, address string, o options) sender
	// register changes a push to testToken to one to a device that the service knows; nil if
	// it knows every token.
	register func(t *testing.T, sb *sandbox.Sandbox, address string, d *push.Delivery)
	// says holds the answers that the sender distinguishes, with what they mean.
	says []said
	// never holds the outcomes that no answer of the provider has.
	never []push.Outcome
	// statuses holds what statuses without details mean, where it is not as for the others;
	// see TestStatuses.
	statuses map[int]string
}

// said is an answer of a provider and the result of the attempt.
type said struct {
	answer sandbox.Response
	want   push.Result
}

// A sender is what commands use of one.
type sender interface {
	push.Sender
	Warm(context.Context) error
	Close()
}

// options configure a sender of any provider.
type options struct {
	timeout  time.Duration
	inFlight map[push.Lane]int
}

var subjects = []subject{toFCM, toAPNs, toBrowsers}

const testToken = "ASD223SDA"

// delivery returns a push to testToken.
func delivery() *push.Delivery {
	return &push.Delivery{
		ID:      "123e4567-e89b-42d3-a456-426655440000",
		Token:   testToken,
		Body:    "Transaksi baru",
		Tag:     "t",
		Thread:  "t",
		Expires: time.Now().Add(time.Hour),
	}
}

// Results of attempts.

func dead(reason push.Reason) push.Result {
	return push.Result{Outcome: push.DeadToken, Reason: reason}
}

func refused(reason push.Reason) push.Result {
	return push.Result{Outcome: push.Refused, Reason: reason}
}

func later(reason push.Reason, backoff time.Duration) push.Result {
	return push.Result{Outcome: push.Later, Reason: reason, Backoff: backoff}
}

func unclear(reason push.Reason) push.Result {
	return push.Result{Outcome: push.Ambiguous, Reason: reason, Backoff: 10 * time.Second}
}

func noCredentials(reason push.Reason) push.Result {
	return push.Result{Outcome: push.CredentialsRefused, Reason: reason, Backoff: 10 * time.Second}
}

func slower(reason push.Reason, scope push.Scope, backoff time.Duration) push.Result {
	return push.Result{Outcome: push.SlowDown, Reason: reason, Scope: scope, Backoff: backoff}
}

var toFCM = subject{
	name:    "fcm",
	service: func(sb *sandbox.Sandbox) *sandbox.Provider { return sb.FCM.Provider },
	open: func(t *testing.T, sb *sandbox.Sandbox, address string, o options) sender {
		s, err := fcm.New(t.Context(), fcm.Options{
			ProjectID: "kabar-test", Endpoint: "https://" + address + "/v1", RootCAs: sb.CAPool(), InFlight: o.inFlight, Timeout: o.timeout,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	says: []said{
		{sandbox.Response{Reason: "UNREGISTERED"}, dead("UNREGISTERED")},
		{sandbox.Response{Reason: "INVALID_ARGUMENT"}, dead("INVALID_ARGUMENT")},
		{sandbox.Response{Reason: "INVALID_ARGUMENT", NoDetails: true}, dead("INVALID_ARGUMENT")},
		{sandbox.Response{Reason: "INVALID_ARGUMENT", Field: "message.data"}, refused("INVALID_ARGUMENT")},
		{sandbox.Response{Reason: "SENDER_ID_MISMATCH"}, push.Result{Outcome: push.Unsendable, Reason: "SENDER_ID_MISMATCH"}},
		{sandbox.Response{Reason: "THIRD_PARTY_AUTH_ERROR"}, later("THIRD_PARTY_AUTH_ERROR", time.Minute)},
		{sandbox.Response{Status: 403, NoDetails: true}, unclear("PERMISSION_DENIED")},
		{sandbox.Response{Status: 401, NoDetails: true}, noCredentials("UNAUTHENTICATED")},
		{sandbox.Response{Reason: "QUOTA_EXCEEDED"}, slower("QUOTA_EXCEEDED", push.ScopeUnknown, time.Minute)},
		{sandbox.Response{Reason: "QUOTA_EXCEEDED", QuotaSubject: "device"}, slower("QUOTA_EXCEEDED", push.ScopeDevice, time.Minute)},
		{sandbox.Response{Reason: "QUOTA_EXCEEDED", QuotaSubject: "project:1"}, slower("QUOTA_EXCEEDED", push.ScopeProject, time.Minute)},
		{sandbox.Response{Status: 429, NoDetails: true}, slower("RESOURCE_EXHAUSTED", push.ScopeUnknown, time.Minute)},
		{sandbox.Response{Reason: "UNAVAILABLE"}, later("UNAVAILABLE", 10*time.Second)},
		{sandbox.Response{Reason: "INTERNAL"}, later("INTERNAL", 10*time.Second)},
	},
}

var toAPNs = subject{
	name:    "apns",
	service: func(sb *sandbox.Sandbox) *sandbox.Provider { return sb.APNs.Provider },
	open: func(t *testing.T, sb *sandbox.Sandbox, address string, o options) sender {
		file, keyID, teamID, err := sb.APNs.WriteKey(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := apns.New(apns.Options{
			KeyPEM: key, KeyID: keyID, TeamID: teamID, Topic: "com.example.app",
			Endpoint: "https://" + address, RootCAs: sb.CAPool(), InFlight: o.inFlight, Timeout: o.timeout,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	says: []said{
		{sandbox.Response{Reason: "Unregistered", Timestamp: since}, push.Result{Outcome: push.DeadToken, Reason: "Unregistered", At: since}},
		{sandbox.Response{Reason: "ExpiredToken", Timestamp: since}, push.Result{Outcome: push.DeadToken, Reason: "ExpiredToken", At: since}},
		{sandbox.Response{Reason: "BadDeviceToken"}, dead("BadDeviceToken")},
		{sandbox.Response{Reason: "DeviceTokenNotForTopic"}, dead("DeviceTokenNotForTopic")},
		{sandbox.Response{Reason: "BadPriority"}, refused("BadPriority")},
		{sandbox.Response{Reason: "PayloadTooLarge"}, refused("PayloadTooLarge")},
		{sandbox.Response{Reason: "BadCertificate"}, noCredentials("BadCertificate")},
		{sandbox.Response{Reason: "Forbidden"}, unclear("Forbidden")},
		{sandbox.Response{Reason: "TopicDisallowed"}, unclear("TopicDisallowed")},
		{sandbox.Response{Reason: "TooManyRequests"}, slower("TooManyRequests", push.ScopeDevice, 10*time.Second)},
		{sandbox.Response{Reason: "TooManyProviderTokenUpdates"}, later("TooManyProviderTokenUpdates", 10*time.Second)},
		{sandbox.Response{Reason: "InternalServerError"}, later("InternalServerError", 10*time.Second)},
		{sandbox.Response{Reason: "ServiceUnavailable"}, later("ServiceUnavailable", 10*time.Second)},
		{sandbox.Response{Reason: "Shutdown"}, later("Shutdown", 10*time.Second)},
	},
	never:    []push.Outcome{push.Unsendable},
	statuses: map[int]string{405: ours, 410: laterOn},
}

// vapidKey returns the key pair of the sender to browsers.
var vapidKey = sync.OnceValues(func() (private, public string) {
	private, public, err := webpushgo.GenerateVAPIDKeys()
	if err != nil {
		panic(err)
	}
	return private, public
})

var toBrowsers = subject{
	name:    "webpush",
	service: func(sb *sandbox.Sandbox) *sandbox.Provider { return sb.Web.Provider },
	open: func(t *testing.T, sb *sandbox.Sandbox, address string, o options) sender {
		private, _ := vapidKey()
		s, err := webpush.New(webpush.Options{
			Service: address, PrivateKey: private, Subject: "mailto:push@kabar.example",
			AllowPrivate: true, RootCAs: sb.CAPool(), InFlight: o.inFlight, Timeout: o.timeout,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	register: func(t *testing.T, sb *sandbox.Sandbox, address string, d *push.Delivery) {
		_, public := vapidKey()
		s, err := sb.Web.Subscribe(testToken, public)
		if err != nil {
			t.Fatal(err)
		}
		d.Token = strings.Replace(s.Endpoint, hostOf(sb.Web.Provider), address, 1)
		d.Keys = push.Keys{P256dh: s.Keys.P256dh, Auth: s.Keys.Auth}
	},
	says: []said{
		{sandbox.Response{Reason: "Gone"}, dead("http_410")},
		{sandbox.Response{Reason: "NotFound"}, dead("http_404")},
		{sandbox.Response{Reason: "BadTopic"}, refused("http_400")},
		{sandbox.Response{Reason: "PayloadTooLarge"}, refused("http_413")},
		{sandbox.Response{Reason: "VAPIDMismatch"}, push.Result{Outcome: push.Unsendable, Reason: "vapid_mismatch"}},
		{sandbox.Response{Reason: "BadJWT"}, unclear("http_403")},
		{sandbox.Response{Reason: "Unauthorized"}, unclear("http_401")},
		{sandbox.Response{Reason: "TooManyRequests"}, slower("http_429", push.ScopeUnknown, time.Minute)},
		{sandbox.Response{Status: 406}, slower("http_406", push.ScopeUnknown, time.Minute)},
		{sandbox.Response{Reason: "InternalServerError"}, later("http_500", 10*time.Second)},
		{sandbox.Response{Reason: "ServiceUnavailable"}, later("http_503", 10*time.Second)},
	},
	// Nothing can be asked of a push service without a subscription, so no answer is certainly
	// about our credentials: several browsers have to tell.
	never:    []push.Outcome{push.CredentialsRefused},
	statuses: map[int]string{404: ends},
}

var since = time.UnixMilli(1769176131123)

// A bench is a subject in a sandbox.
type bench struct {
	*sandbox.Provider
	sb      *sandbox.Sandbox
	subject subject
	sender  sender
	pattern push.Delivery
}

// eachSender runs a test for every sender, each in a sandbox of its own.
func eachSender(t *testing.T, in sandbox.Options, o options, test func(t *testing.T, b *bench)) {
	for _, s := range subjects {
		t.Run(s.name, func(t *testing.T) {
			sb := startSandbox(t, in)
			service := s.service(sb)
			test(t, newBench(t, sb, s, hostOf(service), o))
		})
	}
}

func startSandbox(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	sb, err := sandbox.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	return sb
}

func newBench(t *testing.T, sb *sandbox.Sandbox, s subject, address string, o options) *bench {
	t.Helper()
	b := &bench{Provider: s.service(sb), sb: sb, subject: s, sender: s.open(t, sb, address, o), pattern: *delivery()}
	t.Cleanup(b.sender.Close)
	if s.register != nil {
		s.register(t, sb, address, &b.pattern)
	}
	return b
}

// hostOf returns the address of a service, host:port.
func hostOf(p *sandbox.Provider) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(p.Endpoint(), "https://"), "/")
	return host
}

// delivery returns a push to a device that the service knows.
func (b *bench) delivery() *push.Delivery {
	d := b.pattern
	return &d
}

// send makes an attempt, which has a minute.
func (b *bench) send(t *testing.T, d *push.Delivery) push.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	return b.sender.Send(ctx, d)
}

// wait waits until the sandbox meets a condition.
func (b *bench) wait(t *testing.T, met func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.sb.Wait(ctx, met); err != nil {
		t.Fatal(err)
	}
}
