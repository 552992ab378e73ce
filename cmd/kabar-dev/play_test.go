package main

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// commands returns the commands in a guide, in their order.
func commands(guide string) []string {
	var all []string
	for paragraph := range strings.SplitSeq(guide, "\n\n") {
		if strings.HasPrefix(paragraph, "curl ") {
			all = append(all, paragraph)
		}
	}
	return all
}

// paste runs a command as it is, like a user who pastes it into a shell.
func paste(t *testing.T, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	var problem strings.Builder
	shell := exec.CommandContext(ctx, "sh", "-c", command)
	shell.Stderr = &problem
	answer, err := shell.Output()
	if err != nil {
		t.Fatalf("%s\n%v\n%s%s", command, err, answer, problem.String())
	}
	return string(answer)
}

// pasteUntil runs a command again and again until its answer matches.
func pasteUntil(t *testing.T, command, want string) {
	t.Helper()
	for end := time.Now().Add(waitTimeout); ; {
		answer := paste(t, command)
		if regexp.MustCompile(want).MatchString(answer) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s\nanswers %s\nwhich does not match %s", command, answer, want)
		}
	}
}

// The commands of the guide, named by what they do.
const (
	register = iota
	transaction
	offer
	became
	promotion
	unread
	list
	listOthers
	readOne
	readAll
	removed
	metrics
	howMany
)

func needCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed, so that the printed commands cannot be tried")
	}
}

func needRedis(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip(localredis.ErrNotInstalled)
	}
}

// TestNewcomer starts the playground and runs every command that it prints.
func TestNewcomer(t *testing.T) {
	needCurl(t)
	t.Run("redis-server", func(t *testing.T) {
		needRedis(t)
		t.Parallel()
		g := launch(t, "--data", t.TempDir())
		g.out.wait(t, "redis-server, a child of this process, on 127.0.0.1:", 1)
		g.out.wait(t, "data is kept in", 1)
		pasteAll(t, g)
		g.stop(t)
		g.out.wait(t, "Stopped. The data is kept for the next run.", 1)
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		g := launch(t, "--in-memory")
		g.out.wait(t, "embedded in this process, as --in-memory asks for", 1)
		g.out.wait(t, "nothing is kept: the data is gone when this stops", 1)
		pasteAll(t, g)
		g.stop(t)
		g.out.wait(t, "Stopped. The data is gone.", 1)
	})
}

func pasteAll(t *testing.T, g *game) {
	// These pushes are printed at the start.
	g.out.wait(t, "(Android) of 66 Testing Account\n  nothing on the screen", 1)
	g.out.wait(t, "(iOS) of 52357 Liem Lie Wie\n  nothing on the screen", 1)
	g.out.wait(t, "│ Welcome to Kabar  ", 2)

	curl := commands(g.out.String())
	if len(curl) != howMany {
		t.Fatalf("%d commands are printed, not %d", len(curl), howMany)
	}
	for _, step := range []struct {
		command int
		answer  string // a regular expression
		push    string // printed afterwards, phones times in total
		phones  int
	}{
		{register, `^{"status":"OK","message":"Device ditambahkan"}\n$`, "Nokia GG-P4124H (Android) of 66 Testing Account\n  nothing on the screen", 1},
		{register, `"Device ditambahkan"`, "", 0},
		{transaction, `^{"status":"OK","id":"[0-9a-f]{24}","duplicate":false,"message":null}\n$`, "│ Transaksi baru dari Liem Lie Wie  ", 3},
		{offer, `^{"status":"OK","id":"nego-51588-waiting","duplicate":false,`, "│ Anda mendapatkan tawaran nego dari Me Ow  ", 3},
		{offer, `"duplicate":true`, "", 0},
		{transaction, `"duplicate":false`, "│ Transaksi baru dari Liem Lie Wie  ", 6},
		{promotion, `"duplicate":false`, "│ contoh diskon kategori  ", 4},
		{unread, `^{"messages":0,"transactions_need_action_as_seller":1,"transactions_as_buyer":0,"unread_notifications":5,`, "", 0},
		{list, `(?s)^{"status":"OK","data":\[{"id":"[0-9a-f]{24}",.*"contoh diskon kategori".*"Welcome to Kabar"`, "", 0},
		{listOthers, `"type":"transaction".*"type":"nego".*"type":"transaction"`, "", 0},
		{readOne, `^{"status":"OK","unread":4,"message":"Notifikasi ditandai sebagai terbaca"}\n$`, "", 0},
		{readAll, `^{"status":"OK","message":null}\n$`, "(Android) of 66 Testing Account\n  takes down what was read elsewhere", 2},
		{unread, `"unread_notifications":0,`, "", 0},
		{removed, `"Device ditambahkan"`, "Nokia 3310 (Android) of 15 Me Ow\n  did not arrive: FCM answered 404 UNREGISTERED", 1},
	} {
		if answer := paste(t, curl[step.command]); !regexp.MustCompile(step.answer).MatchString(answer) {
			t.Fatalf("%s\nanswers %s\nwhich does not match %s", curl[step.command], answer, step.answer)
		}
		if step.push != "" {
			g.out.wait(t, step.push, step.phones)
		}
	}
	pasteUntil(t, curl[became], `^{"status":"OK","id":"nego-51588-waiting",.*"push":"done".*"platform":"android","outcome":"accepted"`)
	pasteUntil(t, curl[metrics], `kabar_pushes_total{app="default",environment="",outcome="dead_token",platform="android",reason="UNREGISTERED"} 1`)

	if log := g.err.String(); log != "" {
		t.Errorf("the log is not quiet:\n%s", log)
	}
	text := g.out.String()
	for _, want := range []string{
		"FCM, high priority, tag transaction:52001",
		"APNs, priority 10, collapse id transaction:52001, badge 2",
		"type=transaction receiver_id=66",
		"id=52001 transaction={id=52001 state=paid}",
		"APNs, priority 5, collapse id reminder",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing shows %q:\n%s", want, text)
		}
	}
	// Duplicate events cause no push. They would have been printed by now, because later
	// events have been.
	if n := strings.Count(text, "│ Anda mendapatkan tawaran nego"); n != 3 {
		t.Errorf("the offer was shown %d times, on 3 phones", n)
	}
	if n := strings.Count(text, "GG-P4124H (Android) of 66 Testing Account\n  nothing on the screen"); n != 1 {
		t.Errorf("a phone that registered twice was greeted %d times", n)
	}
}

// TestSecondRun checks that a second run continues with the data of the first one.
func TestSecondRun(t *testing.T) {
	needCurl(t)
	needRedis(t)
	t.Parallel()
	data := t.TempDir()
	first := launch(t, "--data", data)
	curl := commands(first.out.String())
	paste(t, curl[register])
	paste(t, curl[offer])
	first.out.wait(t, "│ Anda mendapatkan tawaran nego", 3)
	first.out.wait(t, "nothing on the screen", 5) // otherwise the second run sends what is left
	first.stop(t)

	second := launch(t, "--data", data)
	second.out.wait(t, "data of an earlier run was found in "+data, 1)
	second.out.wait(t, "│ Welcome to Kabar", 3) // the Nokia is still registered
	curl = commands(second.out.String())
	if answer := paste(t, curl[offer]); !strings.Contains(answer, `"duplicate":true`) {
		t.Errorf("the offer of the first run: %s", answer)
	}
	paste(t, curl[transaction])
	second.out.wait(t, "│ Transaksi baru dari Liem Lie Wie", 3)
	if answer := paste(t, curl[unread]); !strings.Contains(answer, `"unread_notifications":4,`) { // two of them are the welcomes
		t.Errorf("unread after both runs: %s", answer)
	}
	if text := second.out.String(); strings.Contains(text, "nothing on the screen") {
		t.Errorf("a phone that was registered already is greeted again:\n%s", text)
	}
}

// TestDataInUse checks that a playground refuses a folder that another one uses.
func TestDataInUse(t *testing.T) {
	needRedis(t)
	t.Parallel()
	data := t.TempDir()
	launch(t, "--data", data)
	err := run(t.Context(), newConsole(), newConsole(), append([]string{"--data", data}, free...))
	if err == nil || !strings.Contains(err.Error(), "another kabar-dev runs over "+data) || exitCode(err) != 1 {
		t.Errorf("a second playground over the same data: %v", err)
	}
}

// TestWithoutRedisServer checks that the embedded Redis is used when there is no
// redis-server.
func TestWithoutRedisServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	g := launch(t, "--data", t.TempDir())
	g.out.wait(t, "embedded in this process, since redis-server is not installed", 1)
}

// TestTakenPort checks that the error names the flag to change when a port is taken.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, flag := range []string{"--listen", "--admin-listen", "--page-listen"} {
		args := append(append([]string{"--in-memory"}, free...), flag, l.Addr().String())
		err := run(t.Context(), newConsole(), newConsole(), args)
		want := flag + " " + l.Addr().String() + ": another program listens there; choose another port, or leave " + flag + " out for a free one"
		if err == nil || err.Error() != want || exitCode(err) != 1 {
			t.Errorf("%s: %v, not %q", flag, err, want)
		}
	}
}

// TestStoppedAtOnce checks that run returns without an error when it is told to stop before
// it has begun.
func TestStoppedAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, newConsole(), newConsole(), append([]string{"--in-memory"}, free...)); err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	out := newConsole()
	if err := run(t.Context(), out, out, []string{"--help"}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"--listen", "127.0.0.1:8080", "--admin-listen", "--page-listen", "127.0.0.1:8090", "--data", "./kabar-data", "--in-memory"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("--help does not mention %s:\n%s", want, out)
		}
	}
	for _, args := range [][]string{{"--lisen", ":1"}, {"now"}} {
		if err := run(t.Context(), out, out, args); !errors.Is(err, errUsage) || exitCode(err) != 2 {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// A closed is an output whose reader has gone.
type closed struct{}

var errClosed = errors.New("broken pipe")

func (closed) Write([]byte) (int, error) { return 0, errClosed }

// TestOutputGone checks that the playground stops when its output can no longer be read.
func TestOutputGone(t *testing.T) {
	err := run(t.Context(), closed{}, newConsole(), append([]string{"--in-memory"}, free...))
	if !errors.Is(err, errClosed) {
		t.Errorf("run over a closed output: %v", err)
	}
}
