package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testNames     = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)`")
	testFunctions = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
)

// TestDocumentsNameTestsThatExist checks the tests that documents name as evidence.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	exist := make(map[string]bool)
	named := make(map[string]string) // to the document
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) != ".md" && !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if filepath.Ext(path) == ".md" {
			for _, m := range testNames.FindAllSubmatch(text, -1) {
				named[string(m[1])] = path
			}
			return err
		}
		for _, m := range testFunctions.FindAllSubmatch(text, -1) {
			exist[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(named) < 50 {
		t.Errorf("the documents name %d tests: are they still found?", len(named))
	}
	for name, path := range named {
		if !exist[name] {
			t.Errorf("%s names %s, which does not exist", path, name)
		}
	}
}
