package devices

import (
	_ "embed"
	"strings"

	"github.com/kabar-gateway/kabar/devices/account"
)

// stemLua defines the same function for scripts.
//
//go:embed stem.lua
var stemLua string

const (
	fidLen    = 22  // characters of the installation ids of today
	maxFIDLen = 200 // should they become longer
)

// stem returns what the owner record of a token is named after. A registration token of
// Firebase begins with the installation id of its app, FID:…, so that a phone which says one
// of them, then the other, has one owner record. Any other token stands for itself.
func stem(token string) string {
	if id, _, _ := strings.Cut(token, ":"); len(id) == fidLen && strings.IndexByte("cdef", id[0]) >= 0 && isFID(id) {
		return id
	}
	return token
}

// isFID reports whether s has only characters of an installation id, those of base64url.
func isFID(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func (d Device) validateFID(field string) error {
	switch {
	case !d.FID:
	case d.tokens() != Android:
		return &account.InvalidError{Field: field, Problem: "can be an installation id with FCM alone"}
	case len(d.Token) > maxFIDLen || !isFID(d.Token):
		return &account.InvalidError{Field: field, Problem: "is not a Firebase installation id"}
	}
	return nil
}
