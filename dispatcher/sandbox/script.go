package sandbox

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AnyToken stands for all devices in [Provider.Fail].
const AnyToken = ""

// A Response is a scripted answer. If only Status or only Reason is set, the other one
// follows from it. If neither is set, and no Body, the push is accepted.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Reason is the FCM error code, such as "UNREGISTERED", the APNs reason, such as
	// "Unregistered", or the error of Web Push, such as "Gone".
	Reason string
	// RetryAfter, unless zero, is sent as Retry-After in whole seconds, rounded up.
	RetryAfter time.Duration
	// Message is the text of the error of FCM or Web Push; that of the error code if empty.
	Message string
	// Field is the field that FCM names with INVALID_ARGUMENT; if empty, message.token, or
	// none if Message is set.
	Field string
	// QuotaSubject, unless empty, is what FCM names in a google.rpc.QuotaFailure, such as
	// "project:kabar-demo". Message describes the quota.
	QuotaSubject string
	// NoDetails leaves the details out: of FCM's error, which contain the error code (the
	// HTTP status and the google.rpc.Code remain), and the timestamp out of APNs' 410.
	NoDetails bool
	// Body, unless nil, is sent instead of the service's own JSON, with Status, or 200 if
	// that is zero. It accepts no push: Push.Reason is Reason or "unreadable".
	Body []byte
	// Header holds more header fields of the answer.
	Header http.Header
	// Timestamp is the timestamp of APNs' 410, when the token became invalid; now if
	// zero.
	Timestamp time.Time
	// Lost makes the service process the push and then reset the stream instead of
	// answering.
	Lost bool

	release <-chan struct{} // the answer waits until it is closed, unless it is nil
}

// reasonUnreadable is the reason of pushes answered with a Response's Body alone.
const reasonUnreadable = "unreadable"

// accepts reports whether the response accepts the push.
func (r *Response) accepts() bool {
	return r.Body == nil && (r.Status == http.StatusOK || r.Status == http.StatusCreated || r.Status == 0 && r.Reason == "")
}

// A script holds the answers that tests have set for a service.
type script struct {
	answer atomic.Pointer[func(Push) *Response]

	failing  atomic.Int32 // the number of entries in failures and injected
	mu       sync.Mutex
	failures map[string]*failure // by device token
	injected []*failure          // the oldest first
}

// A failure is the response to pushes to a device, or to those that it applies to.
type failure struct {
	applies  func(p *Push) bool // nil in script.failures
	times    int                // how many pushes it is for; negative: all
	response Response
}

// Answer sets a function that answers every push that the real service would accept; nil
// removes it. If f returns nil, the push is answered as if there were no f. The push has
// no Answer yet and, with FCM, no ID. f must be safe for concurrent use.
func (s *script) Answer(f func(p Push) *Response) {
	if f == nil {
		s.answer.Store(nil)
		return
	}
	s.answer.Store(&f)
}

// Fail answers the next pushes to a device, times of them, with r. [AnyToken] stands for
// every device without a fault of its own. If times is negative, r is for all pushes from
// now on; if it is zero, the fault is removed. A token has one fault: the latest.
func (s *script) Fail(token string, times int, r Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failures, token)
	if times != 0 {
		if s.failures == nil {
			s.failures = make(map[string]*failure)
		}
		s.failures[token] = &failure{times: times, response: r}
	}
	s.count()
}

// inject answers the next pushes that applies chooses, times of them, with r, unless Answer
// or Fail answers them; all of them if times is negative. applies is called with the
// script's lock held. It returns a function that ends this.
func (s *script) inject(applies func(p *Push) bool, times int, r Response) (remove func()) {
	f := &failure{applies: applies, times: times, response: r}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected = append(s.injected, f)
	s.count()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drop(f)
	}
}

// drop removes an injected failure. The caller holds the lock.
func (s *script) drop(f *failure) {
	s.injected = slices.DeleteFunc(s.injected, func(other *failure) bool { return other == f })
	s.count()
}

// count updates failing. The caller holds the lock.
func (s *script) count() { s.failing.Store(int32(len(s.failures) + len(s.injected))) }

// next returns the scripted response to a push, or nil.
func (s *script) next(p *Push) *Response {
	if f := s.answer.Load(); f != nil {
		if r := (*f)(*p); r != nil {
			return r
		}
	}
	if s.failing.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range [...]string{p.Token, AnyToken} {
		if f := s.failures[token]; f != nil {
			if f.use() {
				delete(s.failures, token)
				s.count()
			}
			return &f.response
		}
	}
	for _, f := range s.injected {
		if f.applies(p) {
			if f.use() {
				s.drop(f)
			}
			return &f.response
		}
	}
	return nil
}

// use counts a push that the failure answers. It returns true if it was the last one.
func (f *failure) use() (last bool) {
	if f.times > 0 {
		f.times--
	}
	return f.times == 0
}

// A magicToken is a prefix of device tokens, and the reason for which each service refuses
// pushes to them.
type magicToken struct {
	prefix, fcm, apns, web string
}

// magicTokens are those in the package comment. Real tokens do not have these prefixes:
// APNs' are hexadecimal and FCM's random.
var magicTokens = [...]magicToken{
	{"unregistered", codeUnregistered, "Unregistered", "Gone"},
	{"expired", codeUnregistered, "ExpiredToken", "Gone"},
	{"badtoken", codeInvalidArgument, "BadDeviceToken", "NotFound"},
	{"mismatch", "SENDER_ID_MISMATCH", "DeviceTokenNotForTopic", "VAPIDMismatch"},
	{"unauthorized", "THIRD_PARTY_AUTH_ERROR", "InvalidProviderToken", "BadJWT"},
	{"quota", "QUOTA_EXCEEDED", "TooManyRequests", "TooManyRequests"},
	{"broken", "INTERNAL", "InternalServerError", "InternalServerError"},
	{"unavailable", "UNAVAILABLE", "ServiceUnavailable", "ServiceUnavailable"},
}

func findMagic(token string) *magicToken {
	if token == noDevice {
		return &magicToken{"", codeInvalidArgument, "BadDeviceToken", "NotFound"}
	}
	for i := range magicTokens {
		if strings.HasPrefix(token, magicTokens[i].prefix) {
			return &magicTokens[i]
		}
	}
	return nil
}
