package live

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Errors of Check. The client gets the same answer however often it repeats the request,
// unless the error is ErrClosed.
var (
	// ErrNoUpgrade means that the request does not ask for a websocket.
	ErrNoUpgrade = errors.New("the request does not upgrade to a websocket")
	// ErrVersion means that the client speaks another version than [Version].
	ErrVersion = errors.New("version " + Version + " of the websocket protocol is required")
	// ErrKey means that Sec-WebSocket-Key is not 16 bytes in base64.
	ErrKey = errors.New("the key of the handshake is missing or malformed")
	// ErrSubprotocol means that the client does not ask for [Subprotocol].
	ErrSubprotocol = errors.New("the subprotocol " + Subprotocol + " is required")
)

// Version is the version of the websocket protocol (RFC 6455).
const Version = "13"

// Check returns the error with which Accept would refuse a request before it upgrades the
// connection, so that the caller can spend a credential that is good only once afterwards:
// ErrNoUpgrade, ErrVersion, ErrKey, ErrSubprotocol, or ErrClosed while the hub is closing.
func (h *Hub) Check(r *http.Request) error {
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case r.Method != http.MethodGet || !r.ProtoAtLeast(1, 1),
		!lists(r, "Connection", "upgrade"), !lists(r, "Upgrade", "websocket"):
		return ErrNoUpgrade
	case r.Header.Get("Sec-WebSocket-Version") != Version:
		return ErrVersion
	case len(keys) != 1 || !isKey(strings.TrimSpace(keys[0])):
		return ErrKey
	case !lists(r, "Sec-WebSocket-Protocol", Subprotocol):
		return ErrSubprotocol
	case h.admission.closed():
		return ErrClosed
	}
	return nil
}

func isKey(text string) bool {
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(key) == 16
}

// lists reports whether a header has a word, in any case.
func lists(r *http.Request, header, word string) bool {
	for _, list := range r.Header.Values(header) {
		if slices.ContainsFunc(strings.Split(list, ","), func(one string) bool {
			return strings.EqualFold(strings.TrimSpace(one), word)
		}) {
			return true
		}
	}
	return false
}
