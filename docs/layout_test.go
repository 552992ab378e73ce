package docs

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/kabar-gateway/kabar/"

// A listed is a package as `go list` shows it, without its tests.
type listed struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
}

// name returns the import path within the module.
func (p *listed) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// ours returns those of the paths that are packages of the module.
func ours(paths []string) []string {
	var names []string
	for _, path := range paths {
		if name, ok := strings.CutPrefix(path, module); ok {
			names = append(names, name)
		}
	}
	return names
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,Deps", "../...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

var tiersBlock = regexp.MustCompile("(?s)```tiers\n(.*?)```")

// tiers returns the tier of each package in design.md. The highest tier is 0.
func tiers(t *testing.T) map[string]int {
	t.Helper()
	design, err := os.ReadFile("design.md")
	if err != nil {
		t.Fatal(err)
	}
	block := tiersBlock.FindSubmatch(design)
	if block == nil {
		t.Fatal("design.md has no block of tiers")
	}
	tier := make(map[string]int)
	for n, line := range strings.Split(strings.TrimSpace(string(block[1])), "\n") {
		for _, name := range strings.Fields(line) {
			if name != "cmd" && name != "dispatcher" {
				name = "dispatcher/" + name
			}
			tier[name] = n
		}
	}
	return tier
}

// A package imports only packages of lower tiers, as design.md shows them.
func TestImportsGoOneWay(t *testing.T) {
	tier := tiers(t)
	seen := make(map[string]bool)
	of := func(name string) (int, bool) {
		if strings.HasPrefix(name, "cmd/") {
			name = "cmd"
		}
		seen[name] = true
		n, ok := tier[name]
		return n, ok
	}
	for _, p := range listPackages(t) {
		own, ok := of(p.name())
		if !ok {
			continue
		}
		for _, imported := range ours(p.Imports) {
			if n, ok := of(imported); ok && n <= own && !strings.HasPrefix(imported, "cmd/") {
				t.Errorf("%s imports %s, which is not below it", p.name(), imported)
			}
		}
	}
	for name := range tier {
		if !seen[name] {
			t.Errorf("design.md names %s, which does not exist", name)
		}
	}
}

// TestWhatEachLayerMayImport checks what the packages outside of the tiers may import from
// the module, and who may use net/http and a Redis client.
func TestWhatEachLayerMayImport(t *testing.T) {
	only := map[string][]string{
		"inbox":                      {"inbox/bbcode", "inbox/model", "inbox/rdb"},
		"inbox/model":                nil,
		"inbox/rdb":                  nil,
		"inbox/bbcode":               nil,
		"inbox/attachments/metadata": nil,
		"inbox/attachments":          {"inbox/attachments/metadata", "inbox/rdb"},
		"devices/ratelimit":          {"inbox/rdb"},
		"devices":                    {"devices/account", "inbox/rdb"},
		"devices/credentials":        {"devices/account", "inbox/rdb"},
		"devices/account":            nil,
		"dispatcher/jsonscan":        nil,
		"dispatcher/text":            nil,
		"dispatcher/push":            nil,
		"dispatcher/provider":        {"dispatcher/jsonscan", "dispatcher/push"},
		"dispatcher/fcm":             {"dispatcher/provider", "dispatcher/push"},
		"dispatcher/apns":            {"dispatcher/provider", "dispatcher/push"},
		"dispatcher/webpush":         {"dispatcher/provider", "dispatcher/push"},
	}
	noRedis := []string{"event", "content", "push", "provider", "fcm", "apns", "webpush"}
	withHTTP := []string{"apns", "fcm", "live", "provider", "sandbox", "webhook", "webpush"}
	for _, p := range listPackages(t) {
		name, imports := p.name(), ours(p.Imports)
		if allowed, ok := only[name]; ok {
			for _, imported := range imports {
				if !slices.Contains(allowed, imported) {
					t.Errorf("%s imports %s", name, imported)
				}
			}
			delete(only, name)
		}
		room, inDispatcher := strings.CutPrefix(name, "dispatcher/")
		if inDispatcher && slices.Contains(noRedis, room) && slices.ContainsFunc(p.Deps, func(dep string) bool { return strings.HasPrefix(dep, "github.com/redis/") }) {
			t.Errorf("a Redis client lies below %s", name)
		}
		if strings.HasPrefix(name, "cmd/") || name == "config" || strings.HasPrefix(name, "docs") {
			continue
		}
		for _, imported := range imports {
			if imported == "config" || strings.HasPrefix(imported, "cmd/") {
				t.Errorf("%s imports %s", name, imported)
			}
		}
		if slices.Contains(p.Imports, "net/http") && !slices.Contains(withHTTP, room) && name != "inbox/attachments" {
			t.Errorf("%s imports net/http", name)
		}
	}
	for name := range only {
		t.Errorf("there is no package %s", name)
	}
}

const (
	maxMethods  = 30 // of a type
	maxExported = 60 // package-level names of a package
	maxLines    = 400
)

// Packages are deep: no type has more than 30 methods, no package exports more than 60
// names, and no file has more than 400 lines.
func TestPackagesAreDeep(t *testing.T) {
	for _, p := range listPackages(t) {
		methods, exported := make(map[string]int), 0
		err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && path != p.Dir {
				return cmpOr(err, fs.SkipDir)
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				return err
			}
			if lines := files.Position(f.FileEnd).Line; lines > maxLines {
				t.Errorf("%s has %d lines", path, lines)
			}
			for _, decl := range f.Decls {
				exported += count(decl, methods)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if exported > maxExported {
			t.Errorf("%s exports %d names", p.name(), exported)
		}
		for name, n := range methods {
			if n > maxMethods {
				t.Errorf("%s.%s has %d methods", p.name(), name, n)
			}
		}
	}
}

func cmpOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// count returns the number of package-level names that a declaration exports. It also
// counts the methods of each type.
func count(decl ast.Decl, methods map[string]int) (exported int) {
	note := func(name *ast.Ident) {
		if name.IsExported() {
			exported++
		}
	}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			note(d.Name)
			break
		}
		receiver := d.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		if index, ok := receiver.(*ast.IndexExpr); ok {
			receiver = index.X
		}
		methods[receiver.(*ast.Ident).Name]++
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				note(s.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					note(name)
				}
			}
		}
	}
	return exported
}
