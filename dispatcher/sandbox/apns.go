package sandbox

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Limits of APNs requests, in bytes.
const (
	apnsPayloadLimit  = 4096
	apnsVoIPLimit     = 5120
	apnsCollapseLimit = 64
	apnsTokenLimit    = 200 // of letters and digits, as in Kabar's API
)

// noDevice is a well-formed token that no device has: the answer is BadDeviceToken unless a
// script says otherwise, and the request is not recorded as a push.
const noDevice = "0000000000000000000000000000000000000000000000000000000000000000"

// APNs is the fake Apple Push Notification service. Its methods are safe for concurrent
// use.
type APNs struct {
	*Provider
	tokens *verifier
}

// WriteKey makes a key that signs provider tokens, writes it into dir in the format in
// which Apple issues keys (.p8, PKCS #8), and returns the path of the file and the ids of
// the key and the team. From then on every request needs a token signed with one of the
// keys. Without a key, and without [Options.ProviderKey], requests need no token.
func (a *APNs) WriteKey(dir string) (keyFile, keyID, teamID string, err error) {
	return a.tokens.writeKey(dir)
}

// ExpireTokens expires every provider token seen so far, as if an hour had passed: APNs
// answers 403 ExpiredProviderToken to them.
func (a *APNs) ExpireTokens() { a.tokens.expireAll() }

// apnsAPI is the provider API of APNs: POST /3/device/{token}.
type apnsAPI struct {
	tokens *verifier
}

// read implements api.
func (a *apnsAPI) read(r *http.Request) (*Push, answer, error) {
	token, ok := strings.CutPrefix(r.URL.Path, "/3/device/")
	switch {
	case r.ProtoMajor != 2:
		return nil, answer{}, http.ErrNotSupported // APNs supports only HTTP/2
	case !ok:
		return nil, a.refuse(&Push{}, Response{Reason: "BadPath"}), nil
	case r.Method != http.MethodPost:
		return nil, a.refuse(&Push{}, Response{Reason: "MethodNotAllowed"}), nil
	}
	authorization := r.Header.Get("Authorization")
	r.Header.Del("Authorization") // Push.Header does not contain it
	p := &Push{Platform: PlatformAPNs, Token: token, ID: r.Header.Get("Apns-Id"), Header: r.Header, dryRun: token == noDevice}
	limit := apnsPayloadLimit
	if p.Header.Get("Apns-Push-Type") == "voip" {
		limit = apnsVoIPLimit
	}
	var err error
	if p.Body, err = readBody(r, int64(limit)); err != nil {
		return p, answer{}, err
	}

	reason := a.tokens.check(r.Context(), authorization)
	if reason == "" {
		reason = checkHeader(p)
	}
	if reason == "" {
		reason = checkPayload(p.Body, limit)
	}
	if p.ID == "" || reason == "BadMessageId" {
		p.ID = uuid.NewString()
	}
	if reason != "" {
		return p, a.refuse(p, Response{Reason: reason}), nil
	}
	return p, answer{}, nil
}

// checkPayload returns the reason to refuse a payload, or "".
func checkPayload(payload []byte, limit int) string {
	switch {
	case len(payload) > limit:
		return "PayloadTooLarge"
	case !json.Valid(payload), !isObject(bytes.TrimSpace(payload)):
		return "PayloadEmpty" // see the package comment
	}
	return ""
}

// checkHeader returns the reason to refuse a request because of its path or header, or "".
func checkHeader(p *Push) string {
	h := p.Header
	for name, values := range h {
		if len(values) > 1 && strings.HasPrefix(name, "Apns-") {
			return "DuplicateHeaders"
		}
	}
	pushType := h.Get("Apns-Push-Type")
	topic := h.Get("Apns-Topic")
	priority := h.Get("Apns-Priority")
	switch {
	case p.Token == "":
		return "MissingDeviceToken"
	case len(p.Token) > apnsTokenLimit, !onlyLettersDigits(p.Token, ""):
		return "BadDeviceToken"
	case topic == "":
		return "MissingTopic"
	case !onlyLettersDigits(topic, ".-_"):
		return "BadTopic"
	case p.ID != "" && (len(p.ID) != 36 || uuid.Validate(p.ID) != nil):
		return "BadMessageId"
	case pushType != "" && !pushTypes[pushType]:
		return "InvalidPushType"
	case priority != "" && priority != "10" && priority != "5" && priority != "1",
		pushType == "background" && priority != "5":
		return "BadPriority"
	case !validExpiration(h.Get("Apns-Expiration")):
		return "BadExpirationDate"
	case len(h.Get("Apns-Collapse-Id")) > apnsCollapseLimit:
		return "BadCollapseId"
	}
	return ""
}

// pushTypes are the values of apns-push-type.
var pushTypes = map[string]bool{
	"alert": true, "background": true, "complication": true, "controls": true,
	"fileprovider": true, "liveactivity": true, "location": true, "mdm": true,
	"pushtotalk": true, "voip": true, "widgets": true,
}

// validExpiration reports whether s is empty or a Unix time in seconds.
func validExpiration(s string) bool {
	if s == "" {
		return true
	}
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// accept implements api.
func (a *apnsAPI) accept(p *Push) answer { return answer{status: http.StatusOK, id: p.ID} }

// refuse implements api.
func (a *apnsAPI) refuse(p *Push, r Response) answer {
	status, reason := findAPNsReason(r.Status, r.Reason)
	body := apnsError{Reason: reason}
	if status == http.StatusGone && !r.NoDetails {
		body.Timestamp = time.Now().UnixMilli()
		if !r.Timestamp.IsZero() {
			body.Timestamp = r.Timestamp.UnixMilli()
		}
	}
	text, _ := json.Marshal(body) // a string and a number always marshal
	return answer{status: status, reason: reason, id: p.ID, body: text}
}

// magic implements api.
func (a *apnsAPI) magic(t *magicToken) Response { return Response{Reason: t.apns} }

type apnsError struct {
	Reason    string `json:"reason"`
	Timestamp int64  `json:"timestamp,omitempty"` // milliseconds since 1970
}

// apnsReasons are Apple's reasons and their statuses ("Handling notification responses
// from APNs"). The first reason of a status is the default for a scripted status.
var apnsReasons = []struct {
	reason string
	status int
}{
	{"BadDeviceToken", http.StatusBadRequest},
	{"BadCollapseId", http.StatusBadRequest},
	{"BadExpirationDate", http.StatusBadRequest},
	{"BadMessageId", http.StatusBadRequest},
	{"BadPriority", http.StatusBadRequest},
	{"BadTopic", http.StatusBadRequest},
	{"DeviceTokenNotForTopic", http.StatusBadRequest},
	{"DuplicateHeaders", http.StatusBadRequest},
	{"IdleTimeout", http.StatusBadRequest},
	{"InvalidPushType", http.StatusBadRequest},
	{"MissingDeviceToken", http.StatusBadRequest},
	{"MissingTopic", http.StatusBadRequest},
	{"PayloadEmpty", http.StatusBadRequest},
	{"TopicDisallowed", http.StatusBadRequest},
	{"InvalidProviderToken", http.StatusForbidden},
	{"BadCertificate", http.StatusForbidden},
	{"BadCertificateEnvironment", http.StatusForbidden},
	{"BadEnvironmentKeyIdInToken", http.StatusForbidden},
	{"ExpiredProviderToken", http.StatusForbidden},
	{"Forbidden", http.StatusForbidden},
	{"MissingProviderToken", http.StatusForbidden},
	{"UnrelatedKeyIdInToken", http.StatusForbidden},
	{"BadPath", http.StatusNotFound},
	{"MethodNotAllowed", http.StatusMethodNotAllowed},
	{"Unregistered", http.StatusGone},
	{"ExpiredToken", http.StatusGone},
	{"PayloadTooLarge", http.StatusRequestEntityTooLarge},
	{"TooManyRequests", http.StatusTooManyRequests},
	{"TooManyProviderTokenUpdates", http.StatusTooManyRequests},
	{"InternalServerError", http.StatusInternalServerError},
	{"ServiceUnavailable", http.StatusServiceUnavailable},
	{"Shutdown", http.StatusServiceUnavailable},
}

// findAPNsReason completes a scripted status and reason. One of them may be missing or
// unknown.
func findAPNsReason(status int, reason string) (int, string) {
	for _, known := range apnsReasons {
		if reason == known.reason || reason == "" && status == known.status {
			if status == 0 {
				status = known.status
			}
			return status, known.reason
		}
	}
	if status == 0 {
		status = http.StatusInternalServerError
	}
	return status, reason
}
