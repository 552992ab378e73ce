package chat

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/inbox"
)

func TestSendFailure(t *testing.T) {
	wrong := func(fields ...string) error {
		v := &event.Validator{}
		for i := 0; i < len(fields); i += 2 {
			v.Wrong(fields[i], fields[i+1])
		}
		return v.Err()
	}
	for name, c := range map[string]struct {
		err        error
		text, code string
	}{
		"too many":                           {&LimitError{}, "api.failure.rate_limited", "rate_limited"},
		"an invalid receiver":                {wrong("receiver_id", "must be somebody else"), "api.message.no_receiver", "invalid"},
		"no receiver":                        {wrong("receiver_id", "is required"), "api.message.format", "invalid"},
		"more than the receiver":             {wrong("receiver_id", "must be somebody else", "category", "is required"), "api.message.format", "invalid"},
		"an unknown receiver":                {fmt.Errorf("send: %w", ErrUnknownReceiver), "api.message.no_receiver", "not_found"},
		"a receiver who is no administrator": {ErrAdminsOnly, "api.message.admins_only", "forbidden"},
		"an id that was used":                {inbox.ErrConflict, "api.message.not_sent", "conflict"},
		"whatever else may happen":           {errors.New("redis is away"), "api.message.not_sent", "unavailable"},
	} {
		if text, code := SendFailure(c.err); text != c.text || code != c.code {
			t.Errorf("%s: %s, %s", name, text, code)
		}
	}
}

func TestFailureFields(t *testing.T) {
	t.Parallel()
	v := &event.Validator{}
	v.Wrong("category", "must be a number")
	for name, c := range map[string]struct {
		err  error
		want map[string]string
	}{
		"wrong fields":                       {fmt.Errorf("send: %w", v.Err()), map[string]string{"category": "must be a number"}},
		"an unknown receiver":                {fmt.Errorf("send: %w", ErrUnknownReceiver), map[string]string{"receiver_id": "is not a user whom Kabar knows"}},
		"a receiver who is no administrator": {ErrAdminsOnly, map[string]string{"category": "must be 0 unless the receiver is an administrator"}},
		"too many":                           {&LimitError{}, nil},
		"an id that was used":                {inbox.ErrConflict, nil},
		"no error":                           {nil, nil},
	} {
		if diff := cmp.Diff(c.want, FailureFields(c.err)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
