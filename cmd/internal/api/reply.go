package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// A reply is an answer on its way to the client.
type reply struct {
	status int
	body   []byte            // JSON
	header map[string]string // in addition to the header of every answer
	// tagged adds an ETag of the body, and answers 304 to clients that have it already.
	tagged bool
	// serve, when set, writes status and body, and returns the status.
	serve func(w http.ResponseWriter, r *http.Request) int
}

// ok is a reply of v as JSON.
func ok(v any) (reply, error) { return replyWith(http.StatusOK, v) }

func replyWith(status int, v any) (reply, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: body}, nil
}

// done is the envelope of a success without data.
type done struct {
	Status  string  `json:"status"`
	Message *string `json:"message"`
}

var (
	jsonType = []string{"application/json; charset=utf-8"}
	noSniff  = []string{"nosniff"}
)

// write sends the reply and returns its status.
func (re reply) write(w http.ResponseWriter, r *http.Request) int {
	h := w.Header()
	for name, value := range re.header {
		h.Set(name, value)
	}
	if re.serve != nil {
		return re.serve(w, r)
	}
	if re.tagged {
		tag := etag(re.body)
		h.Set("ETag", `"`+tag+`"`)
		if hasTag(r.Header, tag) {
			w.WriteHeader(http.StatusNotModified)
			return http.StatusNotModified
		}
	}
	h["Content-Type"], h["X-Content-Type-Options"] = jsonType, noSniff
	h.Set("Content-Length", strconv.Itoa(len(re.body)))
	w.WriteHeader(re.status)
	_, _ = w.Write(re.body) // a client that has left needs no answer
	return re.status
}

// etag returns the entity tag of a body, without quotes.
func etag(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

// hasTag reports whether the client has a body with this tag. The
// documents allow an Etag header in place of If-None-Match, and write tags in
// quotes of either kind.
func hasTag(h http.Header, tag string) bool {
	for _, name := range []string{"If-None-Match", "Etag"} {
		for _, list := range h[name] {
			for held := range strings.SplitSeq(list, ",") {
				held = strings.TrimPrefix(strings.TrimSpace(held), "W/")
				if held == "*" || strings.Trim(held, `"'`) == tag {
					return true
				}
			}
		}
	}
	return false
}
