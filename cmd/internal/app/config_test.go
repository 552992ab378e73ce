package app

import (
	"slices"
	"testing"

	"github.com/kabar-gateway/kabar/cmd/internal/api"
	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/report"
)

// Package config repeats the names of other packages, because it must not import packages
// that use Redis. The copies must be equal.
func TestConfigurationKnowsTheNamesOfOtherPackages(t *testing.T) {
	for name, tc := range map[string]struct{ configured, want []string }{
		"types of reports": {
			[]string{config.ReportDeviceForgotten, config.ReportEventFailed, config.ReportBroadcastDone, config.ReportEventReceipt},
			report.Types,
		},
		"scopes": {
			[]string{config.ScopeEvents, config.ScopeUsers, config.ScopeBroadcasts},
			[]string{api.ScopeEvents, api.ScopeUsers, api.ScopeBroadcasts},
		},
	} {
		if !slices.Equal(tc.configured, tc.want) {
			t.Errorf("%s: the configuration has %q, want %q", name, tc.configured, tc.want)
		}
	}
}
