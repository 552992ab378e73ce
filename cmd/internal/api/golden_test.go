package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// A scenario is a documented endpoint with a sequence of requests that produces each of its
// documented answers.
type scenario struct {
	Name  string
	Steps []struct {
		At      string    // sets the clock
		Users   string    // JSON members of each user's profile, by id
		Publish string    // events that the service publishes
		Request string    // a documented command line
		Status  int       // expected status
		Answer  yaml.Node // expected JSON body
	}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.yaml")
	check(t, err)
	if len(files) == 0 {
		t.Fatal("no golden files")
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		check(t, err)
		var scenarios []scenario
		check(t, yaml.Unmarshal(raw, &scenarios))
		platform := strings.TrimSuffix(filepath.Base(file), ".yaml")
		for _, s := range scenarios {
			t.Run(platform+"/"+s.Name, func(t *testing.T) {
				t.Parallel()
				s.run(t)
			})
		}
	}
}

func (s scenario) run(t *testing.T) {
	w := newWorld(t, nil)
	var newest, last string
	for _, step := range s.Steps {
		if step.At != "" {
			w.at(step.At)
		}
		var users map[string]json.RawMessage
		if step.Users != "" {
			check(t, json.Unmarshal([]byte(step.Users), &users))
		}
		for id, members := range users {
			w.must(w.bearer(directory, "PUT", "/v2/users/"+id+".json", string(members)), 200)
		}
		if step.Publish != "" {
			for _, r := range w.must(w.publish(step.Publish), 200).envelope(t).Results {
				if r.Status != "OK" {
					t.Fatalf("publishing: %+v", r)
				}
			}
		}
		if step.Request == "" {
			continue
		}
		got := w.do(parseCurl(t, strings.NewReplacer("$NEWEST", newest, "$SENT", last).Replace(step.Request)))
		if got.status != step.Status {
			t.Errorf("%s\ngot %d %s\nwant %d", step.Request, got.status, got.body, step.Status)
		}
		if diff := differ(t, &step.Answer, got); diff != "" {
			t.Errorf("%s\n%s\ngot %s", step.Request, diff, got.body)
		}
		var members struct {
			ID   any
			Data []struct{ ID string }
		}
		check(t, json.Unmarshal([]byte(got.body), &members))
		if len(members.Data) > 0 {
			newest = members.Data[0].ID
		}
		if id, ok := members.ID.(string); ok && got.call.method == "POST" {
			last = id
		}
	}
}

// differ describes how an answer differs from the documented one. It returns "" when they
// are equal. A success must have its members in the documented order. A failure may also
// have "code" and "errors".
func differ(t *testing.T, documented *yaml.Node, got answer) string {
	t.Helper()
	var want bytes.Buffer
	check(t, encodeNode(jsontext.NewEncoder(&want), documented))
	if got.status < 400 {
		return differInOrder(want.Bytes(), []byte(got.body))
	}
	var wantMembers, gotMembers map[string]any
	check(t, json.Unmarshal(want.Bytes(), &wantMembers))
	check(t, json.Unmarshal([]byte(got.body), &gotMembers))
	delete(gotMembers, "code")
	delete(gotMembers, "errors")
	if a, b := fmt.Sprint(wantMembers), fmt.Sprint(gotMembers); a != b {
		return "want " + a
	}
	return ""
}

// differInOrder compares two JSON texts token by token.
func differInOrder(want, got []byte) string {
	w, g := json.NewDecoder(bytes.NewReader(want)), json.NewDecoder(bytes.NewReader(got))
	for {
		wantToken, wantErr := w.Token()
		gotToken, gotErr := g.Token()
		if errors.Is(wantErr, io.EOF) && errors.Is(gotErr, io.EOF) {
			return ""
		}
		text, _ := wantToken.(string)
		prefix, wild := strings.CutSuffix(text, "*")
		if s, ok := gotToken.(string); wild && ok && strings.HasPrefix(s, prefix) {
			continue
		}
		if wantErr != nil || gotErr != nil || wantToken != gotToken {
			return fmt.Sprintf("byte %d: %v %v, want %v %v", g.InputOffset(), gotToken, gotErr, wantToken, wantErr)
		}
	}
}

// parseCurl parses a curl command line. It knows only the options that the documents use.
func parseCurl(t *testing.T, line string) call {
	t.Helper()
	c := call{method: "GET"}
	words := shellWords(line)
	for i := 1; i < len(words); i++ {
		if !strings.HasPrefix(words[i], "-") {
			u, err := url.Parse(words[i])
			check(t, err)
			c.path = u.RequestURI()
			continue
		}
		option, value := words[i], words[i+1]
		i++
		switch option {
		case "-u":
			c.auth = value
		case "-X":
			c.method = value
		case "--data", "-d":
			c.body = value
			if c.media == "" {
				c.media = typeForm
			}
		case "-H":
			_, media, _ := strings.Cut(value, ":")
			c.media = strings.TrimSpace(media)
		case "-F":
			name, file, _ := strings.Cut(value, "=@")
			c.media, c.body = boundary, filePart(name, file, uploads[filepath.Ext(file)])+"--XX--"
		default:
			t.Fatalf("%s: unknown option %s", line, option)
		}
	}
	return c
}

// shellWords splits a command line at the spaces outside of quotes, and removes the quotes.
func shellWords(line string) []string {
	var words []string
	var quote rune
	var word strings.Builder
	quoted := false // true when the word had quotes, so that it may be empty
	end := func() {
		if word.Len() > 0 || quoted {
			words = append(words, word.String())
		}
		word.Reset()
		quoted = false
	}
	for _, r := range line {
		switch {
		case quote == 0 && r == ' ':
			end()
		case quote == 0 && (r == '"' || r == '\''):
			quote, quoted = r, true
		case r == quote:
			quote = 0
		default:
			word.WriteRune(r)
		}
	}
	end()
	return words
}
