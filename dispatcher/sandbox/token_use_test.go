package sandbox

import (
	"testing"
	"time"
)

func TestTokenUseAllowsAChangeEvery20Minutes(t *testing.T) {
	var use tokenUse
	begin := time.Now()
	for _, step := range []struct {
		after  time.Duration
		bearer string
		want   bool
	}{
		{0, "a", true},
		{time.Minute, "a", true},
		{19 * time.Minute, "b", false},
		{19 * time.Minute, "a", true},
		{20 * time.Minute, "b", true},
		{39 * time.Minute, "a", false},
		{40 * time.Minute, "a", true},
	} {
		if got := use.update(step.bearer, begin.Add(step.after)); got != step.want {
			t.Errorf("after %v, token %s: %v", step.after, step.bearer, got)
		}
	}
}
