package sandbox

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// AnyToken stands for every device in Provider.Fail.
const AnyToken = ""

// A Response is a scripted answer. Status and Reason complete each other: a
// known reason brings its status and a status its usual reason. Without both the
// push is accepted.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Reason is the FCM error code, such as "UNREGISTERED", or the APNs reason,
	// such as "Unregistered".
	Reason string
	// RetryAfter, unless zero, is sent as Retry-After in whole seconds, rounded up.
	RetryAfter time.Duration
	// Field is the field that FCM blames for INVALID_ARGUMENT; the token,
	// message.token, unless set.
	Field string
	// NoDetails makes FCM leave the error's details out, the error code with
	// them: what remains is the HTTP status and the general error status.
	NoDetails bool
	// Timestamp is when APNs says that a token ceased to be valid (410 alone);
	// now, unless set.
	Timestamp time.Time
	// Lost makes the service do all of this, and then reset the stream instead of
	// answering: the client cannot know.
	Lost bool
}

// accepts reports whether the push is taken.
func (r *Response) accepts() bool {
	return r.Status == http.StatusOK || r.Status == 0 && r.Reason == ""
}

// A script is what tests have asked a service to answer.
type script struct {
	answer atomic.Pointer[func(Push) *Response]

	failing atomic.Int32 // the number of entries in faults
	mu      sync.Mutex
	faults  map[string]*fault // by device token
}

// A fault is a Response for the next so many pushes to a device, or, when
// negative, for all.
type fault struct {
	times    int
	response Response
}

// Answer has f decide about every push that the real service would accept; nil
// takes it away. When f returns nil, the push is answered as if there were no f.
// The push has no Answer yet, and no ID with FCM. f is called concurrently.
func (s *script) Answer(f func(p Push) *Response) {
	if f == nil {
		s.answer.Store(nil)
		return
	}
	s.answer.Store(&f)
}

// Fail answers the next so many pushes to a device with r, or, with AnyToken, to
// any device that has no fault of its own. A negative number stands for all
// pushes from now on; zero takes the fault away. It replaces what was said about
// the same token before.
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

// next returns the scripted response to a push, nil when there is none.
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

// A magicToken is a word that device tokens may begin with, and the reasons for
// which each service refuses their pushes.
type magicToken struct {
	word, fcm, apns string
}

// magicTokens must agree with the package comment. None can begin a real token:
// those of APNs are hexadecimal, and FCM's random.
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
		if strings.HasPrefix(token, magicTokens[i].word) {
			return &magicTokens[i]
		}
	}
	return nil
}
