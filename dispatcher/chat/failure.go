package chat

import (
	"errors"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox"
)

// TextSent is the id of the documented text of a message that was sent.
const TextSent = "api.message.sent"

// The ids of the documented texts of messages that were not sent.
const (
	textNotSent    = "api.message.not_sent"
	textFormat     = "api.message.format"
	textNoReceiver = "api.message.no_receiver"
	textTooMany    = "api.failure.rate_limited"
	textAdminsOnly = "api.message.admins_only"
)

// SendFailure returns the answer to the client for an error of Send or Form.Parse: the id
// of the documented text, and the error code that the HTTP interface and sockets share.
func SendFailure(err error) (textID, code string) {
	var invalid *event.InvalidError
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return textTooMany, "rate_limited"
	case errors.As(err, &invalid):
		if problem := invalid.Fields["receiver_id"]; len(invalid.Fields) == 1 && problem != "" && problem != "is required" {
			return textNoReceiver, "invalid"
		}
		return textFormat, "invalid"
	case errors.Is(err, ErrUnknownReceiver):
		return textNoReceiver, "not_found"
	case errors.Is(err, ErrAdminsOnly):
		return textAdminsOnly, "forbidden"
	case errors.Is(err, inbox.ErrConflict):
		return textNotSent, "conflict"
	}
	return textNotSent, "unavailable"
}

// FailureFields returns the problem of each field of a message that Send or Form.Parse
// refused, by the documented name of the field, or nil when the error is about no field.
// Each problem continues a sentence that begins with the field's name.
func FailureFields(err error) map[string]string {
	var invalid *event.InvalidError
	switch {
	case errors.As(err, &invalid):
		return invalid.Fields
	case errors.Is(err, ErrUnknownReceiver):
		return map[string]string{"receiver_id": "is not a user whom Kabar knows"}
	case errors.Is(err, ErrAdminsOnly):
		return map[string]string{"category": "must be 0 unless the receiver is an administrator"}
	}
	return nil
}
