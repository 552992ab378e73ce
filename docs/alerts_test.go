package docs

import (
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every alert says how urgent it is, what is wrong, and where the guide says what to do.
func TestAlertsHaveRunbooks(t *testing.T) {
	text, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Labels      struct{ Severity string }
				Annotations struct {
					Summary string
					Runbook string `yaml:"runbook_url"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	sections, count := anchors(string(guide)), 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			count++
			if r.Labels.Severity != "critical" && r.Labels.Severity != "warning" {
				t.Errorf("%s: severity %q", r.Alert, r.Labels.Severity)
			}
			if r.Annotations.Summary == "" {
				t.Errorf("%s has no summary", r.Alert)
			}
			_, anchor, _ := strings.Cut(r.Annotations.Runbook, "/docs/operations.md#")
			if anchor != strings.ToLower(r.Alert) || !sections[anchor] {
				t.Errorf("%s: the guide has no section %q", r.Alert, r.Annotations.Runbook)
			}
		}
	}
	if count == 0 {
		t.Error("there is no alert")
	}
}
