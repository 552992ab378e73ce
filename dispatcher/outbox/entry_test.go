package outbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEntryRoundTrip(t *testing.T) {
	t.Parallel()
	const id = "52e0b9e37a12000000000000"
	for name, c := range map[string]struct {
		entry Entry
		want  string
	}{
		"all members": {
			Entry{
				User: 66, Event: "digest", Type: "transaction", Tag: "transaction:1", Expires: 2, Until: 3, Attempt: 4,
				Owed: "device", From: `Me & "Ow"`, State: true, Quiet: true, Recheck: true, Waits: "suspect", Since: 5, Category: "buyer", Service: "shop", EventID: "e1", Source: "/shop",
				ID: id, Body: `{"type":"transaction"}`,
			},
			`{"u":66,"e":"digest","y":"transaction","g":"transaction:1","x":2,"r":3,"a":4,"o":"device","f":"Me & \"Ow\"","s":true,` +
				`"q":true,"k":true,"w":"suspect","d":5,"c":"buyer","h":"shop","i":"e1","z":"/shop","n":"52e0b9e37a12000000000000"}` + "\n" + `{"type":"transaction"}`,
		},
		"few members": {
			Entry{User: 66, Type: "reminder", Expires: 2, Until: 3, ID: id, Body: "{}"},
			`{"u":66,"y":"reminder","x":2,"r":3,"n":"52e0b9e37a12000000000000"}` + "\n{}",
		},
		"a reference": {
			Entry{User: 66, Type: "discount", Expires: 2, Until: 3, ID: id, Body: "@b1"},
			`{"u":66,"y":"discount","x":2,"r":3,"n":"52e0b9e37a12000000000000"}` + "\n@b1",
		},
		"a body of several lines": {
			Entry{User: 66, Type: "nego", Expires: 2, Until: 3, ID: id, Body: "{\n}\n"},
			`{"u":66,"y":"nego","x":2,"r":3,"n":"52e0b9e37a12000000000000"}` + "\n{\n}\n",
		},
		"an empty body": {
			Entry{User: 66, Type: "nego", Expires: 2, Until: 3, ID: id},
			`{"u":66,"y":"nego","x":2,"r":3,"n":"52e0b9e37a12000000000000"}` + "\n",
		},
	} {
		value := c.entry.Value()
		if diff := cmp.Diff(c.want, value); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if byScript := c.entry.Header() + c.entry.ID + `"}` + "\n" + c.entry.Body; byScript != value {
			t.Errorf("%s: a script makes %s of the header", name, byScript)
		}
		parsed, err := ParseEntry(value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(&c.entry, parsed); diff != "" {
			t.Errorf("%s: parsed: %s", name, diff)
		}
	}
}

func TestParseEntryRefuses(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", `{"u":66}`, "\n{}", "{\n{}", `{"u":"66"}` + "\n{}"} {
		if e, err := ParseEntry(value); err == nil {
			t.Errorf("%q is parsed as %+v", value, e)
		}
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	e := Entry{User: 66, Type: "nego", Attempt: 1, Quiet: true, Recheck: true, Waits: "suspect", ID: "n1", Body: "{}"}
	want := Entry{User: 66, Type: "nego", Attempt: 2, Owed: "device", ID: "n1", Body: "{}"}
	if diff := cmp.Diff(&want, e.Retry("device", 2)); diff != "" {
		t.Error(diff)
	}
	if e.Owed != "" || e.Attempt != 1 || !e.Recheck || e.Waits == "" {
		t.Errorf("the entry itself became %+v", e)
	}
}
