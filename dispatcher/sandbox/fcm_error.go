package sandbox

import (
	"encoding/json"
	"net/http"
)

const (
	typeJSON       = "application/json; charset=UTF-8"
	typeFCMError   = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	typeBadRequest = "type.googleapis.com/google.rpc.BadRequest"
	typeQuota      = "type.googleapis.com/google.rpc.QuotaFailure"
)

const (
	codeInvalidArgument = "INVALID_ARGUMENT"
	codeUnregistered    = "UNREGISTERED"

	tokenField = "message.token"
	fidField   = "message.fid"
)

// An fcmError is one of FCM's errors ("REST error codes for the HTTP v1 API").
type fcmError struct {
	code    string // FcmError.errorCode
	http    int
	status  string // google.rpc.Code
	message string
}

// fcmErrors are FCM's errors with its messages. The first one is INVALID_ARGUMENT.
var fcmErrors = []fcmError{
	{codeInvalidArgument, http.StatusBadRequest, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"},
	{"THIRD_PARTY_AUTH_ERROR", http.StatusUnauthorized, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"},
	{"SENDER_ID_MISMATCH", http.StatusForbidden, "PERMISSION_DENIED", "SenderId mismatch"},
	{codeUnregistered, http.StatusNotFound, "NOT_FOUND", "Requested entity was not found."},
	{"QUOTA_EXCEEDED", http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."},
	{"INTERNAL", http.StatusInternalServerError, "INTERNAL", "Internal error encountered."},
	{"UNAVAILABLE", http.StatusServiceUnavailable, "UNAVAILABLE", "The service is currently unavailable."},
}

// findFCMError completes a scripted status and error code. One of them may be missing or
// unknown.
func findFCMError(status int, code string) fcmError {
	found := fcmError{http: http.StatusInternalServerError, status: "UNKNOWN", message: http.StatusText(status)}
	for _, e := range fcmErrors {
		if e.code == code || code == "" && e.http == status {
			found = e
			break
		}
		if e.http == status { // unless the code is found later
			found = e
		}
	}
	if status != 0 && status != found.http {
		found.http = status
		for _, e := range fcmErrors {
			if e.http == status {
				found.status = e.status
			}
		}
	}
	if code != "" {
		found.code = code
	}
	return found
}

// answer returns the error in Google's envelope.
func (e fcmError) answer(details []fcmDetail) answer {
	var envelope fcmEnvelope
	envelope.Error.Code = e.http
	envelope.Error.Message = e.message
	envelope.Error.Status = e.status
	envelope.Error.Details = details
	body, _ := json.MarshalIndent(envelope, "", "  ") // strings and numbers always marshal
	a := answer{status: e.http, reason: e.code, contentType: typeJSON, body: append(body, '\n')}
	if len(details) == 0 {
		a.reason = e.status // the answer contains no code
	}
	return a
}

type fcmEnvelope struct {
	Error struct {
		Code    int         `json:"code"`
		Message string      `json:"message"`
		Status  string      `json:"status"`
		Details []fcmDetail `json:"details,omitempty"`
	} `json:"error"`
}

type fcmDetail struct {
	Type            string           `json:"@type"`
	ErrorCode       string           `json:"errorCode,omitempty"`
	FieldViolations []fieldViolation `json:"fieldViolations,omitempty"`
	Violations      []quotaViolation `json:"violations,omitempty"`
}

type fieldViolation struct {
	Field       string `json:"field,omitempty"`
	Description string `json:"description"`
}

type quotaViolation struct {
	Subject     string `json:"subject"`
	Description string `json:"description"`
}

func fieldDetail(field, description string) fcmDetail {
	return fcmDetail{Type: typeBadRequest, FieldViolations: []fieldViolation{{field, description}}}
}

// fcmNotFound is the answer of Google's front end for a path or method that belongs to no
// API: HTML without an error envelope.
var fcmNotFound = answer{
	status:      http.StatusNotFound,
	contentType: "text/html; charset=UTF-8",
	body: []byte("<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n" +
		"  <p><b>404.</b> <ins>That’s an error.</ins>\n"),
}

// A violation is what is wrong with a message.
type violation struct {
	field   string // the path of the field; empty for the whole message
	message string
	// syntax is true if the JSON does not match the API's definition. Then Google's API
	// gateway answers, without an FCM error code.
	syntax bool
}

// answer returns a 400 that names the field, if there is one.
func (v *violation) answer() answer {
	e := fcmErrors[0]
	e.message = v.message
	if v.syntax {
		return e.answer([]fcmDetail{fieldDetail(v.field, v.message)})
	}
	request := fcmDetail{Type: typeBadRequest}
	if v.field != "" {
		request = fieldDetail(v.field, v.message)
	}
	code := fcmDetail{Type: typeFCMError, ErrorCode: e.code}
	return e.answer([]fcmDetail{request, code})
}

// snake returns a field's name in snake case, as in FCM's reference. Protocol buffers accept
// both collapseKey and collapse_key in JSON.
func snake(name []byte) []byte {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			lower := append([]byte(nil), name[:i]...)
			lower = append(lower, '_', c-'A'+'a')
			return append(lower, snake(name[i+1:])...)
		}
	}
	return name
}
