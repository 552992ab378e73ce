package inbox

import (
	"fmt"
	"testing"
)

// The cache of texts has a limited size.
func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	var kept textCache
	for i := range 2 * maxTexts {
		kept.put(fmt.Sprint(i), Text{})
	}
	if n := len(kept.known); n != maxTexts {
		t.Errorf("%d texts are kept, want %d", n, maxTexts)
	}
	if _, ok := kept.get(fmt.Sprint(2*maxTexts - 1)); !ok {
		t.Error("the newest one is not kept")
	}
}
