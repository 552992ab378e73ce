package sandbox

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

const (
	// webBodyLimit is the size of a body that every push service takes (RFC 8030, section
	// 7.2), and most take no more. webTopicLimit is that of a topic (section 5.4).
	webBodyLimit  = 4096
	webTopicLimit = 32

	webPath = "/push/"
)

// WebPush is the fake push service of a browser vendor (RFC 8030), together with the browsers
// that subscribe to it. Its methods are safe for concurrent use.
type WebPush struct {
	*Provider
	browsers *browsers
}

// A Subscription is what a browser's PushManager.subscribe resolves to. Its JSON form is that
// of PushSubscription.toJSON.
type Subscription struct {
	Endpoint       string           `json:"endpoint"`
	ExpirationTime *int64           `json:"expirationTime"`
	Keys           SubscriptionKeys `json:"keys"`
}

// SubscriptionKeys are the browser's public key and the secret that it shares with whoever
// may send to it, in base64 (RFC 8291).
type SubscriptionKeys struct {
	P256dh string `json:"p256dh"`
	Auth   string `json:"auth"`
}

// Subscribe subscribes a browser, whose pushes have the name as their token. It must be of
// letters, digits, "-" and "_". Only whoever has the private key of the VAPID public key, in
// base64, may send to it. Subscribing again replaces the keys.
func (w *WebPush) Subscribe(name, publicKey string) (Subscription, error) {
	keys, err := w.browsers.subscribe(name, publicKey)
	if err != nil {
		return Subscription{}, err
	}
	return Subscription{Endpoint: w.Endpoint() + webPath + name, Keys: keys}, nil
}

// Unsubscribe ends a subscription: the answer to its pushes is 410.
func (w *WebPush) Unsubscribe(name string) { w.browsers.unsubscribe(name) }

// webAPI is the API of a push service: POST /push/{name}.
type webAPI struct{ browsers *browsers }

// read implements api.
func (a *webAPI) read(r *http.Request) (*Push, answer, error) {
	name, ok := strings.CutPrefix(r.URL.Path, webPath)
	switch {
	case !ok:
		return &Push{Platform: PlatformWeb, dryRun: true}, answer{}, nil
	case r.Method != http.MethodPost:
		return nil, a.refuse(nil, Response{Status: http.StatusMethodNotAllowed}), nil
	}
	authorization := r.Header.Get("Authorization")
	r.Header.Del("Authorization") // Push.Header does not contain it
	p := &Push{Platform: PlatformWeb, Token: name, Endpoint: "https://" + r.Host + r.URL.Path, Header: r.Header}
	body, err := readBody(r, webBodyLimit)
	if err != nil {
		return p, answer{}, err
	}
	b, known := a.browsers.find(name)
	reason := ""
	switch {
	case !known:
		reason = "NotFound"
	case b == nil:
		reason = "Gone"
	case len(body) > webBodyLimit:
		reason = "PayloadTooLarge"
	default:
		reason = cmp.Or(b.checkVAPID(authorization, "https://"+r.Host), checkWebHeader(r.Header))
	}
	if reason == "" && len(body) > 0 {
		if p.Body, err = b.decrypt(body); err != nil {
			reason = "Undecryptable"
		}
	}
	if reason != "" {
		return p, a.refuse(p, Response{Reason: reason}), nil
	}
	return p, answer{}, nil
}

// checkWebHeader returns the reason to refuse a request because of its header, or "".
func checkWebHeader(h http.Header) string {
	urgencies := []string{"", "very-low", "low", "normal", "high"}
	topic := h.Get("Topic")
	switch ttl := h.Get("TTL"); {
	case ttl == "" || strings.Trim(ttl, "0123456789") != "":
		return "BadTTL"
	case len(topic) > webTopicLimit, !onlyLettersDigits(topic, "-_"):
		return "BadTopic"
	case !slices.Contains(urgencies, h.Get("Urgency")):
		return "BadUrgency"
	case h.Get("Content-Encoding") != "aes128gcm":
		return "BadContentEncoding"
	}
	return ""
}

// accept implements api.
func (a *webAPI) accept(p *Push) answer {
	if p.dryRun {
		return answer{status: http.StatusNotFound}
	}
	p.ID = uuid.NewString()
	return answer{status: http.StatusCreated, header: http.Header{"Location": {"/message/" + p.ID}}}
}

// refuse implements api.
func (a *webAPI) refuse(_ *Push, r Response) answer {
	e := findWebError(r.Status, r.Reason)
	text, _ := json.Marshal(map[string]any{ // strings and a number always marshal
		"code": e.status, "error": http.StatusText(e.status), "message": cmp.Or(r.Message, e.message),
	})
	return answer{status: e.status, reason: e.reason, contentType: typeJSON, body: text}
}

// magic implements api.
func (a *webAPI) magic(t *magicToken) Response { return Response{Reason: t.web} }

// A webError is an error of a push service. The standards define statuses alone; reasons and
// messages are the sandbox's.
type webError struct {
	status  int
	reason  string
	message string
}

// webErrors are the errors of a push service. The first one of a status is the default for a
// scripted status.
var webErrors = []webError{
	{http.StatusBadRequest, "BadRequest", "The request is not valid"},
	{http.StatusBadRequest, "BadTTL", "The TTL header is missing or no number of seconds"},
	{http.StatusBadRequest, "BadTopic", "The Topic header has more than 32 characters, or others than those of base64"},
	{http.StatusBadRequest, "BadUrgency", "The Urgency header is none of very-low, low, normal and high"},
	{http.StatusBadRequest, "BadContentEncoding", "The Content-Encoding is not aes128gcm"},
	{http.StatusBadRequest, "Undecryptable", "The browser cannot decrypt the body"},
	{http.StatusUnauthorized, "Unauthorized", "The request has no VAPID credentials"},
	{http.StatusForbidden, "BadJWT", "The VAPID token is not valid"},
	{http.StatusForbidden, "VAPIDMismatch", "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions."},
	{http.StatusNotFound, "NotFound", "There is no such subscription"},
	{http.StatusGone, "Gone", "The subscription has expired or was cancelled"},
	{http.StatusRequestEntityTooLarge, "PayloadTooLarge", "The body has more than 4096 bytes"},
	{http.StatusTooManyRequests, "TooManyRequests", "Too many messages"},
	{http.StatusInternalServerError, "InternalServerError", "Something went wrong"},
	{http.StatusServiceUnavailable, "ServiceUnavailable", "The service is not available"},
}

// findWebError completes a scripted status and reason. One of them may be missing or unknown.
func findWebError(status int, reason string) webError {
	for _, known := range webErrors {
		if reason == known.reason || reason == "" && status == known.status {
			known.status = cmp.Or(status, known.status)
			return known
		}
	}
	status = cmp.Or(status, http.StatusInternalServerError)
	return webError{status: status, reason: cmp.Or(reason, strconv.Itoa(status)), message: reason}
}
