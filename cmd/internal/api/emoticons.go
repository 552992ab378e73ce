package api

import (
	_ "embed"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
)

// emoticonsJSON is the documented answer.
//
//go:embed emoticons.json
var emoticonsJSON []byte

// emoticons: GET /v2/messages/emoticons.json
func emoticons() func(*http.Request, int64) (reply, error) {
	body := jsontext.Value(emoticonsJSON).Clone()
	if err := body.Compact(); err != nil {
		panic(fmt.Sprintf("emoticons.json: %v", err)) // it is part of the program
	}
	return func(*http.Request, int64) (reply, error) {
		return reply{status: http.StatusOK, body: body, tagged: true}, nil
	}
}
