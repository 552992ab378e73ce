package api

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// The content types of bodies.
const (
	typeJSON      = "application/json"
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
	typeNDJSON    = "application/x-ndjson"
	typeNDJSON2   = "application/ndjson"
)

// readBody reads the whole body, which the router has bounded.
func readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 { // do not trust a large Content-Length with memory
		buf.Grow(int(min(n, smallBody)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(r.Body)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, bodyTooLarge(over.Limit)
	case err != nil: // the client stopped half-way, or took too long
		return nil, bodyProblem(malformed, "was not sent completely")
	}
	return buf.Bytes(), nil
}

func bodyTooLarge(limit int64) *failure {
	return bodyProblem(tooLarge, fmt.Sprintf("is larger than %d bytes", limit))
}

func bodyProblem(c code, problem string) *failure {
	return &failure{code: c, fields: map[string]string{"body": problem}}
}

// mediaType returns the lower-case content type of the body and its parameters,
// or "" when none is given.
func mediaType(r *http.Request) (media string, params map[string]string, err error) {
	header := r.Header.Get("Content-Type")
	if header == "" || header == typeJSON {
		return header, nil, nil
	}
	media, params, err = mime.ParseMediaType(header)
	if err != nil {
		return "", nil, unsupported(typeJSON)
	}
	return media, params, nil
}

// unsupported says which content types are accepted instead.
func unsupported(accepted ...string) *failure {
	return &failure{code: unsupportedMedia, fields: map[string]string{"Content-Type": "must be " + strings.Join(accepted, ", ")}}
}
