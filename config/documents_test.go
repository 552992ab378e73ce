package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The table in the documentation lists every key with its default and its description, in
// the order of Keys.
func TestConfigurationTable(t *testing.T) {
	document, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, k := range Keys() {
		def := k.Default
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", k.Name, def, k.Doc)
	}
	_, table, found := strings.Cut(string(document), "| key | default | |\n|---|---|---|\n")
	if !found {
		t.Fatal("docs/configuration.md has no table of keys")
	}
	if *update {
		head := strings.TrimSuffix(string(document), table)
		if err := os.WriteFile("../docs/configuration.md", []byte(head+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want.String() {
		t.Errorf("the table of docs/configuration.md differs from the code: run go test ./config -run ConfigurationTable -update")
	}
}

// The examples in the documents contain only keys that exist.
func TestDocumentedYAML(t *testing.T) {
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	for _, path := range paths {
		document, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(document), -1) {
			examples++
			var raw map[string]any
			if err := yaml.Unmarshal([]byte(block[1]), &raw); err != nil {
				t.Errorf("%s: %v\n%s", path, err, block[1])
				continue
			}
			if unknown := unknownKeys("", raw, reflect.TypeFor[Config]()); len(unknown) > 0 {
				t.Errorf("%s: unknown keys %q in\n%s", path, unknown, block[1])
			}
		}
	}
	if examples == 0 {
		t.Error("no document has an example of a configuration")
	}
}

// The image and compose.yaml set only variables that exist.
func TestDeploymentVariables(t *testing.T) {
	known := make(map[string]bool)
	for _, k := range Keys() {
		known[k.Env] = true
	}
	for file, setting := range map[string]string{
		"../compose.yaml": `(?m)^ +(KABAR_\w+):`,
		"../Dockerfile":   `(?m)^ENV (KABAR_\w+)=`,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		set := regexp.MustCompile(setting).FindAllStringSubmatch(string(text), -1)
		if len(set) == 0 {
			t.Errorf("%s sets no variable", file)
		}
		for _, m := range set {
			if !known[m[1]] {
				t.Errorf("%s sets %s, which Kabar does not know", file, m[1])
			}
		}
	}
}
