package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis/localredistest"
)

// TestMain runs the tests. In a process that a test has started it runs a command instead.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		main()
	}
	localredistest.Main(m, func() error { return os.RemoveAll(daemonDir) })
}

var daemonDir string

// buildOnce builds the daemon for all tests.
var buildOnce = sync.OnceValues(func() (path string, err error) {
	if daemonDir, err = os.MkdirTemp("", "kabar-bench-test-"); err != nil {
		return "", err
	}
	return buildDaemon(context.Background(), daemonDir)
})

// daemon returns the path of the daemon's binary.
func daemon(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A result is the exit code and the output of a command line.
type result struct {
	code     int
	out, err string
}

// runWith runs a command line. If onProgress is not nil, it is called with everything that
// is written to standard error.
func runWith(ctx context.Context, onProgress func(string), args ...string) result {
	var out bytes.Buffer
	said := &listener{tell: onProgress}
	code := run(&env{ctx: ctx, in: strings.NewReader(""), out: &out, err: said}, args)
	return result{code, out.String(), said.text.String()}
}

// A listener is a writer that collects the output of several processes. It also passes the
// output to tell, unless that is nil.
type listener struct {
	tell func(string)

	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.text.Write(p)
	l.mu.Unlock()
	if l.tell != nil {
		l.tell(string(p))
	}
	return len(p), nil
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, 0, "push"},
		{"help", []string{"push", "--help"}, 0, "--users=10000"},
		{"hidden", []string{"--help"}, 0, "Measures Kabar on this machine."},
		{"unknown", []string{"pull"}, 2, "pull"},
		{"no users", []string{"push", "--users=0"}, 2, "--users must be between 1 and 1000000"},
		{"too many rounds", []string{"push", "--rounds=101"}, 2, "--rounds must be between"},
		{"negative latency", []string{"push", "--latency=-1s"}, 2, "--latency"},
		{"negative rate", []string{"push", "--rate=-1"}, 2, "--rate"},
		{"unknown provider", []string{"push", "--provider=adm"}, 2, "adm"},
		{"help of live", []string{"live", "--help"}, 0, "--idle=10000"},
		{"too many sockets", []string{"live", "--sockets=10001"}, 2, "--sockets must be between 1 and 10000"},
		{"no idle sockets", []string{"live", "--idle=0"}, 2, "--idle must be between 1 and 25000"},
		{"no rate", []string{"live", "--rate=0"}, 2, "--rate"},
		{"never settled", []string{"live", "--settle=0s"}, 2, "--settle"},
		{"unknown measure", []string{"live", "--measure=peace"}, 2, "peace"},
		{"help of broadcast", []string{"broadcast", "--help"}, 0, "--users=20000"},
		{"too fast a broadcast", []string{"broadcast", "--broadcast-rate=10001"}, 2, "--broadcast-rate must be between 1 and 10000"},
		{"no urgent events", []string{"broadcast", "--rate=0"}, 2, "--rate must be more than 0"},
		{"not one urgent event", []string{"broadcast", "--measure=1ms"}, 2, "--measure is too short"},
		{"endless", []string{"broadcast", "--measure=2h"}, 2, "--measure must be"},
		{"a provider that takes too long", []string{"broadcast", "--latency=11s"}, 2, "--latency"},
		{"too few receivers", []string{"broadcast", "--users=1499", "--broadcast-rate=1"}, 2, "--users must be at least 1500"},
		{"too short a broadcast", []string{"broadcast", "--users=15999"}, 2, "--users must be at least 16000"},
		{"help of scale", []string{"scale", "--help"}, 0, "--users=1000,10000,50000"},
		{"a case without users", []string{"scale", "--users=10,0"}, 2, "--users must be between 1 and 1000000"},
		{"too many masters", []string{"scale", "--shards=1,17", "--batch=1"}, 2, "--shards must be between 0 and 16"},
		{"no gateway", []string{"scale", "--gateways=0"}, 2, "--gateways must be between 1 and 16"},
		{"too long a request", []string{"scale", "--batch=400"}, 2, "--batch times --shards must be at most 1000"},
		{"no time to idle", []string{"scale", "--idle=0s"}, 2, "--idle must be"},
		{"a provider that takes too long to scale", []string{"scale", "--latency=-1s"}, 2, "--latency"},
		{"no address", []string{"live", "--url=ftp://x", "--key=k"}, 2, "--url must be like"},
		{"an address with a path", []string{"push", "--url=https://x/v2", "--key=k"}, 2, "without a path"},
		{"no key", []string{"live", "--url=http://x"}, 2, "--url needs --key"},
		{"users beyond JSON", []string{"live", "--url=http://x", "--key=k", "--first-user=9007199254740991"}, 2, "--first-user must be between"},
		{"the memory of another", []string{"live", "--url=http://x", "--key=k", "--measure=idle"}, 2, "--measure=idle needs a gateway of our own"},
		{"a profile of another", []string{"live", "--url=http://x", "--key=k", "--profile=x"}, 2, "--url cannot be combined"},
		{"a daemon and an address", []string{"push", "--url=http://x", "--key=k", "--kabar=main.go"}, 2, "--url cannot be combined"},
		{"devices of our own", []string{"push", "--devices"}, 2, "--devices needs --url"},
		{"no such daemon", []string{"push", "--kabar=/does/not/exist"}, 2, "/does/not/exist"},
		{"no such baseline", []string{"push", "--baseline=/does/not/exist"}, 2, "/does/not/exist"},
		{"a daemon of no baseline", []string{"push", "--baseline-kabar=main.go"}, 2, "--baseline-kabar needs --baseline"},
		{"a profile of two builds", []string{"push", "--baseline=main.go", "--profile=x"}, 2, "--profile and --baseline cannot be combined"},
		{"a baseline of live", []string{"live", "--baseline=/does/not/exist"}, 2, "/does/not/exist"},
		{"a profile of two builds, live", []string{"live", "--baseline=main.go", "--profile=x"}, 2, "--profile and --baseline cannot be combined"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := runWith(t.Context(), nil, c.args...)
			if got.code != c.code || !strings.Contains(got.out+got.err, c.says) {
				t.Errorf("code %d, want %d, and %q in:\n%s%s", got.code, c.code, c.says, got.out, got.err)
			}
			if strings.Contains(got.out, "serve-") {
				t.Errorf("the children's commands are shown:\n%s", got.out)
			}
		})
	}
}

// A plain report consists of a name.
type plain struct {
	Name string `json:"name"`
}

func (p plain) tables(w io.Writer) error {
	_, err := w.Write([]byte("table of " + p.Name + "\n"))
	return err
}

func TestWrite(t *testing.T) {
	const text = "{\n  \"name\": \"x\"\n}\n"
	for _, c := range []struct {
		name string
		json bool
		file bool
		want string
	}{
		{"table", false, false, "table of x\n"},
		{"JSON", true, false, text},
		{"table and file", false, true, "table of x\n"},
		{"JSON and file", true, true, text},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			e := &env{out: &out, output: output{JSON: c.json}}
			if c.file {
				e.output.File = filepath.Join(t.TempDir(), "report.json")
			}
			if err := e.write(plain{"x"}); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.want {
				t.Errorf("printed %q, want %q", &out, c.want)
			}
			if !c.file {
				return
			}
			if got, err := os.ReadFile(e.output.File); err != nil || string(got) != text {
				t.Errorf("the file has %q, %v", got, err)
			}
		})
	}
}

// decode decodes JSON into v. Members that v does not have are errors.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
