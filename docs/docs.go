// Package docs holds the documents that Kabar serves.
package docs

import _ "embed" // the documents

// OpenAPI is the OpenAPI 3.1 document of the HTTP interface, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI is the AsyncAPI 3.0 document of the websocket protocol kabar.v1, in
// YAML.
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
