package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzConfiguration loads files and variables. There is a configuration or an error, and no
// error or print of a configuration shows a secret.
func FuzzConfiguration(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
		if err != nil || len(paths) == 0 {
			f.Fatalf("test data: %v, %v", paths, err)
		}
		for _, path := range paths {
			file, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			variables, _ := os.ReadFile(strings.TrimSuffix(path, ".yaml") + ".vars") // most have none
			f.Add(string(file), string(variables))
		}
	}
	f.Add("a: &a [*a]", "KABAR_SERVICES=a:b:c+d,")
	f.Add("<<: {listen: x}", "KABAR_TYPES=[{name: payout, lane: urgent}]")
	path := filepath.Join(f.TempDir(), "kabar.yaml")
	f.Fuzz(func(t *testing.T, file, variables string) {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, strings.Split(variables, "\n"))
		if (c == nil) != (err != nil) {
			t.Errorf("configuration %v, error %v", c != nil, err)
		}
		if c == nil {
			return
		}
		if text, err := c.YAML(); err != nil || len(text) == 0 {
			t.Errorf("it cannot be shown: %v", err)
		}
	})
}
