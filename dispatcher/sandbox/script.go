package sandbox

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AnyToken stands for all devices in [Provider.Fail].
const AnyToken = ""

// A Response is a scripted answer. If only Status or only Reason is set, the other one
// follows from it. If neither is set, the push is accepted.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Reason is the FCM error code, such as "UNREGISTERED", or the APNs reason,
	// such as "Unregistered".
	Reason string
	// RetryAfter, unless zero, is sent as Retry-After in whole seconds, rounded up.
	RetryAfter time.Duration
	// Field is the field that FCM names with INVALID_ARGUMENT; message.token if empty.
	Field string
	// NoDetails leaves the details out of FCM's error, which contain the error code.
	// The HTTP status and the google.rpc.Code remain.
	NoDetails bool
	// Timestamp is the timestamp of APNs' 410, when the token became invalid; now if
	// zero.
	Timestamp time.Time
	// Lost makes the service process the push and then reset the stream instead of
	// answering.
	Lost bool
}

// accepts reports whether the response accepts the push.
func (r *Response) accepts() bool {
	return r.Status == http.StatusOK || r.Status == 0 && r.Reason == ""
}

// A script holds the answers that tests have set for a service.
type script struct {
	answer atomic.Pointer[func(Push) *Response]

	failing atomic.Int32 // the number of entries in faults
	mu      sync.Mutex
	faults  map[string]*fault // by device token
}

// A fault is the response to pushes to a device.
type fault struct {
	times    int // how many pushes it is for; negative: all
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
	delete(s.faults, token)
	if times != 0 {
		if s.faults == nil {
			s.faults = make(map[string]*fault)
		}
		s.faults[token] = &fault{times: times, response: r}
	}
	s.failing.Store(int32(len(s.faults)))
}

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
	token := p.Token
	f, ok := s.faults[token]
	if !ok {
		token = AnyToken
		f, ok = s.faults[token]
	}
	if !ok {
		return nil
	}
	if f.times > 0 {
		f.times--
	}
	if f.times == 0 {
		delete(s.faults, token)
		s.failing.Store(int32(len(s.faults)))
	}
	return &f.response
}

// A magicToken is a prefix of device tokens, and the reason for which each service refuses
// pushes to them.
type magicToken struct {
	prefix, fcm, apns string
}

// magicTokens are those in the package comment. Real tokens do not have these prefixes:
// APNs' are hexadecimal and FCM's random.
var magicTokens = [...]magicToken{
	{"unregistered", codeUnregistered, "Unregistered"},
	{"expired", codeUnregistered, "ExpiredToken"},
	{"badtoken", codeInvalidArgument, "BadDeviceToken"},
	{"mismatch", "SENDER_ID_MISMATCH", "DeviceTokenNotForTopic"},
	{"unauthorized", "THIRD_PARTY_AUTH_ERROR", "InvalidProviderToken"},
	{"quota", "QUOTA_EXCEEDED", "TooManyRequests"},
	{"broken", "INTERNAL", "InternalServerError"},
	{"unavailable", "UNAVAILABLE", "ServiceUnavailable"},
}

func findMagic(token string) *magicToken {
	for i := range magicTokens {
		if strings.HasPrefix(token, magicTokens[i].prefix) {
			return &magicTokens[i]
		}
	}
	return nil
}
