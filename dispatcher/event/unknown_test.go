package event

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Members that an event does not have are named; those of samples, resources and details
// never are.
func TestUnknownMembers(t *testing.T) {
	t.Parallel()
	p := testParser()
	with := func(members string) string {
		return `{"type":"discount","receiver_id":66,"message":"m",` + members + `}`
	}
	for raw, want := range map[string][]string{
		with(`"tittle":"t","Title":null,"optons":{}`):              {"tittle", "Title", "optons"},
		with(`"options":{"tll":"1h","ttl":"1h","Push":1}`):         {"options.tll", "options.Push"},
		with(`"state":"paid","bank_account_id":1`):                 {"state", "bank_account_id"},
		with(`"data":{"title":"t"}`):                               {"data"},
		with(`"` + strings.Repeat("é", 100) + `":1`):               {strings.Repeat("é", maxUnknownName)},
		`{"x":1,"data":` + with(`"y":2,"options":{"z":3}`) + `}`:   {"x", "data.y", "options.z"},
		`{"transaction":` + rawTransaction + `,"recever_id":66}`:   {"recever_id"},
		`{"receiver_id":66,"mutation":` + rawMutation + `,"x":{}}`: {"x"},

		with(`"created_at":"x","read_state":false,"details":{"anything":{"at":"all"}},"title":null,"time":null,"id":"i"`): nil,
		`{"type":"reminder","receiver_id":66,"unread_notifications":17,"messages":0}`:                                     nil,
		`{"status":"OK","transaction":` + rawTransaction + `,"message":null}`:                                             nil,
		`{"negotiation":[` + rawOffer + `],"receiver_id":15}`:                                                             nil,
		`{"product":` + rawProduct + `,"time":"2015-09-03T13:42:56+07:00"}`:                                               nil,
		`{"receiver_id":66,` + rawMutation[1:]:                                                                            nil,
		`{"receiver_id":66,` + rawWithdrawal[1:]:                                                                          nil,
		`{"receiver_id":66,"data":` + rawWithdrawal + `}`:                                                                 nil,
		`{"data":{"receiver_id":66,` + rawMutation[1:] + `}`:                                                              nil,
	} {
		e, err := p.Parse([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if !slices.Equal(e.Unknown, want) {
			t.Errorf("%s: unknown are %q, want %q", raw, e.Unknown, want)
		}
		var refused *InvalidError
		if errors.As(e.RefuseUnknown(), &refused) != (want != nil) {
			t.Errorf("%s: refused %v", raw, refused)
			continue
		}
		if want != nil && !slices.Equal(slices.Sorted(maps.Keys(refused.Fields)), slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: refused %v", raw, refused)
		}
	}
}

// An answer does not grow with the number of unknown members.
func TestUnknownMembersAreBounded(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `,"x%d":1`, i)
	}
	e, err := testParser().Parse([]byte(`{"type":"discount","receiver_id":66,"message":"m"` + many.String() + `}`))
	if err != nil || len(e.Unknown) != maxUnknown {
		t.Errorf("%d, %v", len(e.Unknown), err)
	}
}
