package model

import (
	"fmt"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	t.Parallel()
	now := time.Date(2016, 1, 11, 13, 8, 30, 768_123_000, time.FixedZone("WIB", 7*3600))
	id := NewID(now)
	if !ValidID(id) || id[:8] != "569346de" { // the time in the documents' sample, in seconds
		t.Errorf("id %q", id)
	}
	if at, err := IDTime(id); !at.Equal(now) || err != nil {
		t.Errorf("time %v, %v", at, err)
	}
	if later := NewID(now.Add(time.Microsecond)); later <= id {
		t.Errorf("%s does not sort after %s", later, id)
	}
	for _, bad := range []string{"", "569346DE6976613129050000", id + "0", id[1:], fmt.Sprintf("%024s", "g")} {
		if ValidID(bad) {
			t.Errorf("%q is valid", bad)
		}
		if _, err := IDTime(bad); err == nil {
			t.Errorf("%q has a time", bad)
		}
	}
}
