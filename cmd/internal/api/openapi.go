package api

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/kabar-gateway/kabar/docs"
)

// openAPI: GET /openapi.json
func openAPI() endpoint { return served("openapi.yaml", docs.OpenAPI) }

// asyncAPI: GET /asyncapi.json
func asyncAPI() endpoint { return served("asyncapi.yaml", docs.AsyncAPI) }

// served answers with a document as JSON, which is converted once.
func served(name string, document []byte) endpoint {
	body, err := documentJSON(document)
	if err != nil {
		panic(fmt.Sprintf("docs/%s: %v", name, err)) // it is part of the program
	}
	return func(*http.Request) (reply, error) {
		return reply{status: http.StatusOK, body: body, tagged: true}, nil
	}
}

// documentJSON converts YAML to JSON and keeps the order of members.
func documentJSON(document []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("read YAML: %w", err)
	}
	var out bytes.Buffer
	enc := jsontext.NewEncoder(&out)
	if err := encodeNode(enc, &root); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func encodeNode(enc *jsontext.Encoder, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return encodeNode(enc, n.Content[0])
	case yaml.AliasNode:
		return encodeNode(enc, n.Alias)
	case yaml.MappingNode:
		return encodeAll(enc, jsontext.BeginObject, n.Content, jsontext.EndObject)
	case yaml.SequenceNode:
		return encodeAll(enc, jsontext.BeginArray, n.Content, jsontext.EndArray)
	}
	var scalar any
	if err := n.Decode(&scalar); err != nil {
		return err
	}
	return json.MarshalEncode(enc, scalar)
}

// encodeAll writes an array, or an object whose names and values alternate.
func encodeAll(enc *jsontext.Encoder, begin jsontext.Token, content []*yaml.Node, end jsontext.Token) error {
	if err := enc.WriteToken(begin); err != nil {
		return err
	}
	for _, n := range content {
		if err := encodeNode(enc, n); err != nil {
			return err
		}
	}
	return enc.WriteToken(end)
}
