// Package docs holds the documents that Kabar serves.
package docs

import _ "embed" // the documents

// OpenAPI is the OpenAPI 3.1 document of the HTTP interface, in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte
