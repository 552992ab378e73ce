package api

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/kabar-gateway/kabar/inbox/attachments"
)

// textFileRefused is the id of the documented text for a file of a type that is not kept.
const textFileRefused = "api.attachment.refused"

// uploadBody is the maximum size of an upload request's body, in bytes.
const uploadBody = attachments.MaxSize + 64<<10

// fileTimeout limits the upload or download of a file.
const fileTimeout = 5 * time.Minute

// extend replaces the server's deadlines for a request.
func extend(w http.ResponseWriter, d time.Duration) {
	until := time.Now().Add(d)
	c := http.NewResponseController(w)
	_ = errors.Join(c.SetReadDeadline(until), c.SetWriteDeadline(until)) // fails only for writers without deadlines
}

// byQuota is the label of uploads that a user's quota refused.
const byQuota = "quota"

const attachmentsPath = "/v2/chat_attachments/"

// files serves the endpoints of attachments.
type files struct {
	attachments Attachments // nil when none are kept
	uploads     limited
	url         string // see Options.PublicURL
}

// attach: POST /v2/chat_attachments.json, /v2/users/chat_attachments.json
func (f *files) attach(r *http.Request, user int64) (reply, error) {
	if f.attachments == nil {
		return reply{}, &failure{code: notFound}
	}
	kept, err := f.keep(r, user)
	if err != nil {
		return reply{}, with(map[string]any{"id": nil, "url": nil}, err)
	}
	return ok(struct {
		Status  string  `json:"status"`
		ID      int64   `json:"id"`
		URL     string  `json:"url"`
		Message *string `json:"message"`
	}{"OK", kept.ID, f.publicURL(r) + attachmentsPath + kept.Key + "/" + kept.Name, nil})
}

// keep stores the file that a form brings.
func (f *files) keep(r *http.Request, user int64) (attachments.Attachment, error) {
	if err := f.uploads.allow(r, user); err != nil {
		return attachments.Attachment{}, err
	}
	file, name, err := formFile(r)
	if err != nil {
		return attachments.Attachment{}, err
	}
	kept, err := f.attachments.Put(r.Context(), user, name, file)
	var quota *attachments.QuotaError
	switch {
	case err == nil:
	case errors.Is(err, attachments.ErrType):
		err = &failure{code: unsupportedMedia, text: textFileRefused, fields: map[string]string{
			"file": "must be one of " + strings.Join(attachments.Extensions(), ", "),
		}}
	case errors.Is(err, attachments.ErrTooLarge):
		err = &failure{code: tooLarge, fields: map[string]string{
			"file": fmt.Sprintf("is larger than %d bytes", attachments.MaxSize),
		}}
	case errors.Is(err, attachments.ErrDamaged):
		err = wrong("file", "is damaged")
	case errors.As(err, &quota):
		f.uploads.refused.WithLabelValues(byQuota).Inc()
		err = &failure{code: tooLarge, fields: map[string]string{"file": quota.Error()}}
	case file.err != nil:
		err = unsent(file.err)
	}
	return kept, err
}

// formFile returns the part "file" of a form, and its file name.
func formFile(r *http.Request) (*upload, string, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, "", unsupported(typeMultipart)
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, "", wrong("file", "is required")
		}
		if err != nil {
			return nil, "", unsent(err)
		}
		if part.FormName() == "file" {
			return &upload{part: part}, part.FileName(), nil
		}
	}
}

// An upload reads a file from a form and keeps the error that ended it early.
type upload struct {
	part *multipart.Part
	err  error
}

// Read implements [io.Reader].
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.part.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// unsent is the failure of a body that is incomplete or too large.
func unsent(err error) error {
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return bodyTooLarge(over.Limit)
	}
	return bodyProblem(malformed, "is not a complete form")
}

// publicURL is the scheme and host under which clients reach Kabar: those of the
// configuration, else those of the request. X-Forwarded-Proto is trusted, because only
// the client itself gets the answer.
func (f *files) publicURL(r *http.Request) string {
	if f.url != "" {
		return strings.TrimSuffix(f.url, "/")
	}
	scheme := "http"
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	return scheme + "://" + cmp.Or(r.Host, "localhost")
}

// showAttachment: GET /v2/chat_attachments/:key/:name. Whoever knows the key may read
// the file.
func (f *files) showAttachment(r *http.Request) (reply, error) {
	if f.attachments == nil {
		return reply{}, &failure{code: notFound}
	}
	key, name := r.PathValue("key"), r.PathValue("name")
	file, err := f.attachments.Get(r.Context(), key, name)
	if err != nil {
		return reply{}, err
	}
	disposition := "attachment"
	if attachments.Inline(file.Type) {
		disposition = "inline"
	}
	return reply{
		header: map[string]string{
			"Content-Type":            file.Type,
			"Content-Disposition":     mime.FormatMediaType(disposition, map[string]string{"filename": name}),
			"Content-Security-Policy": "default-src 'none'; sandbox",
			"X-Content-Type-Options":  "nosniff",
			"Cache-Control":           "private, max-age=31536000, immutable",
			"ETag":                    `"` + key + `"`, // a key never gets another content
		},
		serve: func(w http.ResponseWriter, r *http.Request) int {
			defer file.Close()
			return serveFile(w, r, file)
		},
	}, nil
}

// serveFile answers with a file, or the range that the request names.
func serveFile(w http.ResponseWriter, r *http.Request, file *attachments.File) int {
	extend(w, fileTimeout)
	noted := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	http.ServeContent(noted, r, "", file.ModTime, file)
	return noted.status
}

// A statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
