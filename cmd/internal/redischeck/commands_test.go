package redischeck

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

var update = flag.Bool("update", false, "rewrite the rules of the Redis user in docs/deployment.md")

// The folders of the daemon's code. The load generator, the playground and the sandbox use
// other commands as well.
var (
	codeRoots = []string{"cmd/kabar", "cmd/internal", "devices", "dispatcher", "inbox"}
	notCode   = []string{"dispatcher/sandbox", "devices/internal", "cmd/internal/redischeck/commands.go"}
)

// notNeeded lists methods of other types that have the name of a command, and commands that
// only the doctor uses and can do without.
var notNeeded = []string{"shutdown", "command", "expire", "config|get"}

var (
	inLua      = regexp.MustCompile(`redis\.p?call\('(\w+)'(?:, '(\w+)')?`)
	luaReport  = regexp.MustCompile(`report\(.*?'([A-Z]{3,})'`) // audit scripts name the repairing command
	newCommand = regexp.MustCompile(`NewCommand\(ctx, "(\w+)"`)
	anyCommand = regexp.MustCompile(`\[\]any\{"(\w+)"`)
	doCommand  = regexp.MustCompile(`\.Do\(ctx, "(\w+)"`)
	publishing = regexp.MustCompile(`"(s?publish)"`) // arguments of scripts
	method     = regexp.MustCompile(`\.([A-Z]\w+)\(ctx\b`)
)

// The lists in commands.go have exactly the commands that the scripts and the Go code use.
func TestCommandsAreThoseOfTheCode(t *testing.T) {
	known := knownCommands(t)
	used := map[string]string{ // commands that go-redis itself sends
		"client|setname": "each connection", "cluster|slots": "each cluster client",
		"asking": "each cluster client", "select": "each connection", "unsubscribe": "sockets", "sunsubscribe": "sockets",
		"subscribe": "sockets", "ssubscribe": "sockets", "evalsha": "inbox/rdb", "eval": "inbox/rdb",
	}
	note := func(path, first, second string) {
		first, second = strings.ToLower(first), strings.ToLower(second)
		if slices.Contains(known, first+"|"+second) {
			first += "|" + second
		}
		if slices.Contains(known, first) && !slices.Contains(notNeeded, first) {
			used[first] = path
		}
	}
	methods := reflect.TypeFor[redis.Cmdable]()
	walkCode(t, func(path, text string) {
		patterns := []*regexp.Regexp{inLua, luaReport}
		if strings.HasSuffix(path, ".go") {
			patterns = []*regexp.Regexp{newCommand, anyCommand, doCommand, publishing}
			if strings.Contains(text, ".TxPipeline(") {
				note(path, "multi", "")
				note(path, "exec", "")
			}
			for _, m := range method.FindAllStringSubmatch(text, -1) {
				if _, ok := methods.MethodByName(m[1]); ok {
					note(path, commandOf(known, m[1]), "")
				}
			}
		}
		for _, p := range patterns {
			for _, m := range p.FindAllStringSubmatch(text, -1) {
				note(path, m[1], strings.Join(m[2:], ""))
			}
		}
	})
	listed := make(map[string]bool)
	for _, text := range slices.Concat(commands, singleCommands, clusterCommands, []string{selectCommand, waitCommand}) {
		listed[parseCommand(text).name] = true
	}
	for name, path := range used {
		if !listed[name] {
			t.Errorf("%s uses %s, which is not in commands.go", path, strings.ToUpper(name))
		}
	}
	for name := range maps.Keys(listed) {
		if used[name] == "" {
			t.Errorf("commands.go lists %s, which nothing uses", strings.ToUpper(name))
		}
	}
}

// knownCommands returns all commands of Redis, such as "get" and "xinfo|consumers".
func knownCommands(t *testing.T) []string {
	t.Helper()
	known, err := connect(t, shared(t).Addr()).CommandList(t.Context(), nil).Result()
	check(t, err)
	return known
}

// commandOf returns the command that a method of the client sends: the longest known
// command that is a prefix of the method's name, such as "xrange" of XRangeN.
func commandOf(known []string, method string) string {
	longest := ""
	for _, name := range known {
		if strings.HasPrefix(strings.ToLower(method), strings.ReplaceAll(name, "|", "")) && len(name) > len(longest) {
			longest = name
		}
	}
	return longest
}

func walkCode(t *testing.T, see func(path, text string)) {
	t.Helper()
	for _, root := range codeRoots {
		err := filepath.WalkDir(filepath.Join("..", "..", "..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := strings.TrimPrefix(filepath.ToSlash(path), "../../../")
			if slices.Contains(notCode, name) {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if !strings.HasSuffix(name, ".lua") && (!strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go")) {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			see(name, string(text))
			return nil
		})
		check(t, err)
	}
}

// The version in newCommands is the version that Redis itself reports for each command.
func TestCommandsNameTheirVersions(t *testing.T) {
	docs, err := connect(t, shared(t).Addr()).Do(t.Context(), "command", "docs").Result()
	check(t, err)
	all := docs.(map[any]any)
	for _, text := range slices.Concat(commands, singleCommands, clusterCommands, []string{selectCommand, waitCommand}) {
		name, _, _ := strings.Cut(parseCommand(text).name, "|")
		since, _ := all[name].(map[any]any)["since"].(string)
		if since = since[:strings.LastIndex(since, ".")]; since <= "6.0" {
			since = ""
		}
		if newCommands[name] != since {
			t.Errorf("%s is said to be of %q, is of %q", name, newCommands[name], since)
		}
	}
}

// docs/deployment.md shows a user with exactly the rights that Kabar needs.
func TestRightsAreDocumented(t *testing.T) {
	const path = "../../../docs/deployment.md"
	line := regexp.MustCompile(`(?m)^ACL SETUSER kabar .*$`)
	doc, err := os.ReadFile(path)
	check(t, err)
	want := "ACL SETUSER kabar on >PASSWORD " + ACLRules("kabar")
	if got := line.FindString(string(doc)); got == want {
		return
	} else if !*update {
		t.Fatalf("%s does not have (go test ./cmd/internal/redischeck -run RightsAreDocumented -update writes it)\n%s", path, want)
	}
	check(t, os.WriteFile(path, line.ReplaceAllLiteral(doc, []byte(want)), 0o644))
}
