package api

import (
	"bytes"
	_ "embed"
	"net/http"
	"time"
)

// defaultAvatarPath is the path of the picture that stands for an avatar that is not set.
const defaultAvatarPath = "/v2/default_avatar.png"

//go:embed default_avatar.png
var defaultAvatarPNG []byte

// DefaultAvatar returns the function that says, for clients of a request, the address of the
// picture that stands for an avatar that is not set: some apps fail on an empty address.
// publicURL is Options.PublicURL. The function is safe for concurrent use.
func DefaultAvatar(publicURL string) func(r *http.Request) string {
	public := files{url: publicURL}
	return func(r *http.Request) string { return public.publicURL(r) + defaultAvatarPath }
}

// showDefaultAvatar: GET /v2/default_avatar.png. Everybody may see it.
func showDefaultAvatar(*http.Request) (reply, error) {
	return reply{
		header: map[string]string{
			"Content-Type":           "image/png",
			"X-Content-Type-Options": "nosniff",
			"Cache-Control":          "public, max-age=86400",
			"ETag":                   `"` + etag(defaultAvatarPNG) + `"`,
		},
		serve: func(w http.ResponseWriter, r *http.Request) int {
			noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
			http.ServeContent(noted, r, "", time.Time{}, bytes.NewReader(defaultAvatarPNG))
			return noted.status
		},
	}, nil
}
