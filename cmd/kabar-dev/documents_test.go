package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An example is a shell block of a document that is marked as tested:
//
//	```sh test        is run
//	```sh test retry  is run again until its answer matches
//
// If the next block is marked json and only blank lines are in between, the output
// must match that block. In it, … matches anything.
type example struct {
	script string
	retry  bool
	answer string // "" for none
}

var fence = regexp.MustCompile("(?ms)^```([^\n`]*)\n(.*?)^```$")

// examples returns the blocks of a document that are marked as tested, and the unmarked
// blocks that call the playground.
func examples(document string) (tested []example, unmarked []string) {
	blocks := fence.FindAllStringSubmatchIndex(document, -1)
	for i, b := range blocks {
		info, body := document[b[2]:b[3]], document[b[4]:b[5]]
		if info == "sh" && strings.Contains(body, "localhost:8080") {
			unmarked = append(unmarked, body)
		}
		if !strings.HasPrefix(info, "sh test") {
			continue
		}
		e := example{script: body, retry: info == "sh test retry"}
		if i+1 < len(blocks) {
			next := blocks[i+1]
			if document[next[2]:next[3]] == "json" && strings.TrimSpace(document[b[1]:next[0]]) == "" {
				e.answer = document[next[4]:next[5]]
			}
		}
		tested = append(tested, e)
	}
	return tested, unmarked
}

// compact removes all white space outside of strings.
func compact(json string) string {
	var b strings.Builder
	quoted, escaped := false, false
	for _, r := range json {
		if !quoted && strings.ContainsRune(" \t\r\n", r) {
			continue
		}
		switch {
		case escaped:
			escaped = false
		case quoted && r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		}
		b.WriteRune(r)
	}
	return b.String()
}

// pattern returns a regular expression for the answers that a block marked json stands for.
func pattern(answer string) string {
	return "^" + strings.ReplaceAll(regexp.QuoteMeta(compact(answer)), "…", ".*") + "$"
}

// TestDocuments runs the marked blocks of each document in order, against a playground of
// its own. The test fails when a request fails.
func TestDocuments(t *testing.T) {
	needCurl(t)
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, path := range append(paths, "../../README.md") {
		document, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tested, unmarked := examples(string(document))
		for _, block := range unmarked {
			t.Errorf("%s: a block that calls the playground is not marked as tested:\n%s", path, block)
		}
		if len(tested) == 0 {
			continue
		}
		count++
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			g, folder := launch(t, "--in-memory"), t.TempDir()
			for _, e := range tested {
				e.try(t, g, folder)
			}
			if log := g.err.String(); log != "" {
				t.Errorf("the log is not quiet:\n%s", log)
			}
		})
	}
	if count == 0 {
		t.Error("no document has a tested block")
	}
}

// try runs an example in a folder, against a playground.
func (e example) try(t *testing.T, g *game, folder string) {
	t.Helper()
	text := g.out.String()
	script := "set -e; cd '" + folder + "'\n" + `curl() { command curl -sS --fail-with-body "$@"; }` + "\n" +
		strings.NewReplacer("localhost:8080", printedAddress(t, text, "gateway"), "127.0.0.1:9090", printedAddress(t, text, "metrics")).Replace(e.script)
	for end := time.Now().Add(waitTimeout); ; {
		answer := paste(t, script)
		if e.answer == "" || regexp.MustCompile(pattern(e.answer)).MatchString(compact(answer)) {
			return
		}
		if !e.retry || time.Now().After(end) {
			t.Fatalf("%s\nanswers\n%s\nand not\n%s", e.script, answer, e.answer)
		}
	}
}

// printedAddress returns the host and port that the guide shows for a name.
func printedAddress(t *testing.T, guide, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^  ` + name + ` +http://([^/\s]+)`).FindStringSubmatch(guide)
	if m == nil {
		t.Fatalf("the guide names no address of the %s:\n%s", name, guide)
	}
	return m[1]
}

func TestExamples(t *testing.T) {
	document := "Text.\n\n```sh test\necho 1\n```\n\n```json\n{\"a\": 1}\n```\n\n```sh\necho 2\n```\n\n" +
		"```sh test retry\necho 3\n```\n\nOther text.\n\n```json\n{}\n```\n\n```sh\ncurl localhost:8080\n```\n"
	tested, unmarked := examples(document)
	want := []example{{script: "echo 1\n", answer: "{\"a\": 1}\n"}, {script: "echo 3\n", retry: true}}
	if len(tested) != len(want) || tested[0] != want[0] || tested[1] != want[1] {
		t.Errorf("tested: %+v, not %+v", tested, want)
	}
	if len(unmarked) != 1 || unmarked[0] != "curl localhost:8080\n" {
		t.Errorf("unmarked: %q", unmarked)
	}
}

func TestPattern(t *testing.T) {
	fits := regexp.MustCompile(pattern("{\"id\": \"…\",\n  \"text\": \"a \\\" b\", …}")).MatchString
	for answer, want := range map[string]bool{
		`{"id":"52e0","text":"a \" b","n":1}`:       true,
		`{"id":"52e0","text":"a\"b","n":1}`:         false,
		`{"id":"52e0","text":"a \" b","n":1}]`:      false,
		`x{"id":"52e0","text":"a \" b","n":1}`:      false,
		"{\n\"id\": \"\", \"text\": \"a \\\" b\",}": true,
	} {
		if fits(compact(answer)) != want {
			t.Errorf("%s: fits is %t", answer, !want)
		}
	}
}
