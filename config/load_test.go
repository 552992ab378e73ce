package config

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the tests got as what they want")

// marker is part of every secret in the test data and must not appear in any output.
const marker = "hunter2"

// eachFile runs test for every YAML file in a folder. environ has the variables of the
// .vars file with the same name, if there is one.
func eachFile(t *testing.T, folder string, test func(t *testing.T, path string, environ []string)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("test data: %v, %v", paths, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			variables, err := os.ReadFile(strings.TrimSuffix(path, ".yaml") + ".vars")
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			test(t, path, strings.Split(strings.TrimSpace(string(variables)), "\n"))
		})
	}
}

// golden compares got with the file that has the name of path and the given extension.
func golden(t *testing.T, path, extension, got string) {
	t.Helper()
	path = strings.TrimSuffix(path, ".yaml") + extension
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	if strings.Contains(got, marker) {
		t.Errorf("%s shows a secret", path)
	}
}

// Each good file is accepted, and its effective configuration equals the golden file.
func TestLoadGood(t *testing.T) {
	eachFile(t, "good", func(t *testing.T, path string, environ []string) {
		c, err := Load(path, environ)
		if err != nil {
			t.Fatal(err)
		}
		printed, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, path, ".golden", string(printed))
	})
}

// Each bad file is rejected. The error reports all of its faults and shows none of its
// secrets.
func TestLoadBad(t *testing.T) {
	eachFile(t, "bad", func(t *testing.T, path string, environ []string) {
		c, err := Load(path, environ)
		if err == nil {
			t.Fatal("accepted")
		}
		if c != nil {
			t.Error("a configuration came with the error")
		}
		golden(t, path, ".err", err.Error()+"\n")
	})
}

func TestLoadWithoutFile(t *testing.T) {
	c, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), c); diff != "" {
		t.Errorf("not the defaults (-want +got):\n%s", diff)
	}
}

func TestLoadMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kabar.yaml")
	_, err := Load(path, nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that wraps %v and names the file", err, fs.ErrNotExist)
	}
}

// A printed configuration without secrets can be loaded again and has the same values.
func TestPrintedIsAFile(t *testing.T) {
	first, err := Load("testdata/good/environment.yaml", []string{
		"KABAR_REDIS_URL=redis://127.0.0.1:6379/3",
		"KABAR_TYPES=[{name: payout, lane: urgent}]",
		"KABAR_APPS=[{name: seller, fcm: {project_id: seller-1, endpoint: https://sandbox.example/v1}}]",
		"KABAR_RETENTION_MESSAGES=400d",
		"KABAR_FCM_PROJECT_ID=yes", // words that YAML itself uses must be quoted
		"KABAR_FCM_ENDPOINT=https://sandbox.example/v1",
		"KABAR_ORIGINS=https://shop.example, https://*.shop.example",
		"KABAR_PUSH_LINK_SCHEMES=shop,com.example.shop",
		"KABAR_TRUSTED_PROXIES_CIDRS=10.0.0.0/8,192.0.2.1/32",
		"KABAR_TRUSTED_PROXIES_HEADER=X-Real-IP",
	})
	if err != nil {
		t.Fatal(err)
	}
	printed, err := first.YAML()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kabar.yaml")
	if err := os.WriteFile(path, printed, 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("changed by printing (-first +second):\n%s", diff)
	}
}
