package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fences   = regexp.MustCompile("(?ms)^```.*?^```$")
	code     = regexp.MustCompile("`[^`\n]*`")
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ +(.*)$`)
)

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(document string) map[string]bool {
	all := make(map[string]bool)
	for _, heading := range headings.FindAllStringSubmatch(fences.ReplaceAllString(document, ""), -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1])] = true
	}
	return all
}

// TestLinks checks that every link in the repository's documents leads to an existing file
// and heading.
func TestLinks(t *testing.T) {
	root := ".."
	documents := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) == ".md":
			text, err := os.ReadFile(path)
			documents[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for path, document := range documents {
		prose := code.ReplaceAllString(fences.ReplaceAllString(document, ""), "")
		for _, link := range links.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			count++
			file, anchor, _ := strings.Cut(link[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if rel, err := filepath.Rel(root, target); err != nil || !filepath.IsLocal(rel) {
				t.Errorf("%s: %s lies outside of the repository", path, link[1])
			} else if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", path, link[1], err)
			} else if anchor != "" && !anchors(documents[target])[anchor] {
				t.Errorf("%s: %s: no such heading", path, link[1])
			}
		}
	}
	if count == 0 {
		t.Error("no document has a link")
	}
}
