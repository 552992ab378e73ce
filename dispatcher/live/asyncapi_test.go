package live

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/kabar-gateway/kabar/docs"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// A protocol is the content of docs/asyncapi.yaml that tests need.
type protocol struct {
	fromServer, fromClient map[string]*message // by op
	codes                  []int
}

type message struct {
	schema   *openapi3.Schema
	examples []any
}

type reference struct {
	Ref string `yaml:"$ref"`
}

// asyncAPI has the parts of the document that are compared with the code.
type asyncAPI struct {
	Channels map[string]struct {
		Messages map[string]reference
		Codes    []struct{ Code int } `yaml:"x-close-codes"`
	}
	Operations map[string]struct {
		Action   string
		Messages []reference
		Reply    struct{ Messages []reference }
	}
	Components struct {
		Messages map[string]struct {
			Payload  reference
			Examples []struct{ Payload any }
		}
		Schemas map[string]any
	}
}

var documented = sync.OnceValues(func() (*protocol, error) {
	var doc asyncAPI
	if err := yaml.Unmarshal(docs.AsyncAPI, &doc); err != nil {
		return nil, err
	}
	// The schemas are also valid in OpenAPI 3.1.
	body, err := json.Marshal(map[string]any{
		"openapi": "3.1.0", "info": map[string]any{"title": "kabar.v1", "version": "1"}, "paths": map[string]any{},
		"components": map[string]any{"schemas": doc.Components.Schemas},
	})
	if err != nil {
		return nil, err
	}
	schemas, err := openapi3.NewLoader().LoadFromData(body)
	if err != nil {
		return nil, err
	}
	p := &protocol{fromServer: make(map[string]*message), fromClient: make(map[string]*message)}
	add := func(to map[string]*message, refs []reference) error {
		for _, ref := range refs {
			name := doc.Channels["live"].Messages[last(ref)]
			m, ok := doc.Components.Messages[last(name)]
			schema := schemas.Components.Schemas[last(m.Payload)]
			if !ok || schema == nil {
				return errors.New("no message or schema is at " + ref.Ref)
			}
			op, _ := schema.Value.Properties["op"].Value.Const.(string)
			to[op] = &message{schema: schema.Value}
			for _, e := range m.Examples {
				to[op].examples = append(to[op].examples, e.Payload)
			}
		}
		return nil
	}
	for _, o := range doc.Operations {
		to := p.fromServer
		if o.Action == "receive" {
			to = p.fromClient
		}
		if err := errors.Join(add(to, o.Messages), add(p.fromServer, o.Reply.Messages)); err != nil {
			return nil, err
		}
	}
	for _, c := range doc.Channels["live"].Codes {
		p.codes = append(p.codes, c.Code)
	}
	return p, nil
})

// last returns the last part of a reference.
func last(r reference) string { return r.Ref[strings.LastIndexByte(r.Ref, '/')+1:] }

func protocolOf(t testing.TB) *protocol {
	t.Helper()
	p, err := documented()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// conforms checks a frame from the hub against the document. It must not have undocumented
// members.
func conforms(t testing.TB, frame []byte) {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal(frame, &value); err != nil {
		t.Errorf("%s: %v", frame, err)
		return
	}
	op, _ := value["op"].(string)
	m := protocolOf(t).fromServer[op]
	if m == nil {
		t.Errorf("%s: the op is not documented", frame)
		return
	}
	if err := m.schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		t.Errorf("%s does not conform: %v", frame, err)
	}
	undocumented(t, op, m.schema, value)
}

// undocumented fails the test for every member that the schema of an object does not have.
func undocumented(t testing.TB, path string, schema *openapi3.Schema, value map[string]any) {
	t.Helper()
	if len(schema.Properties) == 0 {
		return // any member is allowed
	}
	for name, v := range value {
		property := schema.Properties[name]
		if property == nil {
			t.Errorf("%s.%s is not documented", path, name)
			continue
		}
		if object, ok := v.(map[string]any); ok && name != "details" {
			undocumented(t, path+"."+name, property.Value, object)
		}
	}
}

func TestDocumentHasWhatClientsMayAsk(t *testing.T) {
	got := slices.Sorted(maps.Keys(protocolOf(t).fromClient))
	if diff := cmp.Diff(slices.Sorted(maps.Keys(ops)), got); diff != "" {
		t.Errorf("ops that are accepted (-) and documented (+):\n%s", diff)
	}
}

func TestDocumentHasEveryCloseCode(t *testing.T) {
	want := []int{
		int(codeProtocol),
		int(websocket.StatusMessageTooBig), // sent by the library when a frame exceeds MaxFrame
		int(codeRestart), int(codeAway), int(codeRevoked), int(codeTooSlow), int(codeTooMany),
	}
	if diff := cmp.Diff(want, protocolOf(t).codes); diff != "" {
		t.Errorf("close codes that are used (-) and documented (+):\n%s", diff)
	}
}

func TestExamplesConform(t *testing.T) {
	p := protocolOf(t)
	for _, side := range []map[string]*message{p.fromServer, p.fromClient} {
		for op, m := range side {
			if len(m.examples) == 0 {
				t.Errorf("%s has no example", op)
			}
			for _, e := range m.examples {
				b, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				var value map[string]any
				if err := json.Unmarshal(b, &value); err != nil {
					t.Fatal(err)
				}
				if err := m.schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
					t.Errorf("%s: %v", b, err)
				}
				undocumented(t, op, m.schema, value)
			}
		}
	}
}

// The hub understands the documented examples of client frames, and it sends every
// documented frame. The client that all tests use checks that the hub sends no others; see
// client.check.
func TestDocumentedFramesAreSent(t *testing.T) {
	w := newWorld(t)
	hub := w.start()
	w.publish(66, "p1")
	id := w.send(15, 66, "halo")
	partner := hub.dial(15)
	partner.next("hello")
	c := hub.dial(66, 12345)
	seen := make(map[string]bool)
	await := func(c *client, ops ...string) {
		for _, op := range ops {
			c.next(op)
			seen[op] = true
		}
	}
	await(c, "hello", "resync")
	w.send(15, 66, "apa kabar?")
	await(c, "event", "unreads")
	conversation := model.ConversationID(15, 66)
	requests := map[string]string{
		"read":     `{"op":"read","conversation_id":"` + conversation + `","message_id":"` + id + `"}`,
		"typing":   `{"op":"typing","conversation_id":"` + conversation + `"}`,
		"presence": `{"op":"presence","conversation_id":"` + conversation + `"}`,
		"send":     `{"op":"send","instant_message":{"receiver_id":15,"category":0,"body_bb":"baik"}}`,
		"seen":     `{"op":"seen","seq":1}`,
	}
	for op, m := range protocolOf(t).fromClient {
		var value any
		if err := json.Unmarshal([]byte(requests[op]), &value); err != nil {
			t.Fatalf("%s is not tried: %v", op, err)
		}
		if err := m.schema.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
			t.Errorf("%s does not conform: %v", requests[op], err)
		}
		c.write(requests[op])
		if op == "presence" {
			await(c, "presence")
		}
		await(c, "ack")
		if op == "read" || op == "typing" {
			await(partner, op)
		}
	}
	c.write(`{`)
	await(c, "error")
	want := slices.Sorted(maps.Keys(protocolOf(t).fromServer))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(seen))); diff != "" {
		t.Errorf("frames that are documented (-) and sent (+):\n%s", diff)
	}
}
