package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/gif"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/devices/ratelimit"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/attachments"
	"github.com/kabar-gateway/kabar/inbox/rdb"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	uploadPath = "/v2/chat_attachments.json"
	pdf        = "%PDF-1.4\n1 0 obj\n<</Type/Catalog>>\nendobj\n"
)

// uploads holds the content of the files that tests upload, by extension.
var uploads = map[string]string{
	".png":  picture(func(w *bytes.Buffer, m image.Image) error { return png.Encode(w, m) }),
	".gif":  picture(func(w *bytes.Buffer, m image.Image) error { return gif.Encode(w, m, nil) }),
	".pdf":  pdf,
	".html": "<!doctype html><script>alert(1)</script>",
	".svg":  `<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`,
	".exe":  "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00",
	".zip":  "PK\x03\x04\x14\x00\x00\x00\x00\x00",
	".txt":  "halo",
	"":      "",
}

func picture(encode func(w *bytes.Buffer, m image.Image) error) string {
	var b bytes.Buffer
	if err := encode(&b, image.NewGray(image.Rect(0, 0, 30, 30))); err != nil {
		panic(err)
	}
	return b.String()
}

// filePart returns the part of a multipart form that holds a file.
func filePart(field, name, content string) string {
	return fmt.Sprintf("--XX\r\nContent-Disposition: form-data; name=%q; filename=%q\r\nContent-Type: image/png\r\n\r\n%s\r\n", field, name, content)
}

func (w *world) upload(name, content string) answer {
	w.t.Helper()
	return w.do(call{method: "POST", path: uploadPath, auth: ani, media: boundary, body: filePart("file", name, content) + "--XX--"})
}

// uploaded is the answer to an upload.
type uploaded struct {
	ID  *int64
	URL *string
}

func (a answer) uploaded(t *testing.T) uploaded {
	t.Helper()
	var u uploaded
	check(t, json.Unmarshal([]byte(a.body), &u))
	return u
}

// fetch downloads a file from its address. It needs no credentials.
func (w *world) fetch(address string, header map[string]string) answer {
	w.t.Helper()
	u, err := url.Parse(address)
	check(w.t, err)
	return w.do(call{method: "GET", path: u.EscapedPath(), header: header})
}

func TestTheContentDecidesNotTheName(t *testing.T) {
	w := newWorld(t, nil)
	for name, tc := range map[string]struct{ content, kept, media, disposition string }{
		"foto.png":            {".png", "foto.png", "image/png", "inline"},
		"foto.html":           {".png", "foto.png", "image/png", "inline"},
		"../../etc/p asswd":   {".gif", "p-asswd.gif", "image/gif", "inline"},
		`C:\Gambar\fotö 1.é`:  {".png", "fot-1.png", "image/png", "inline"},
		"":                    {".png", "file.png", "image/png", "inline"},
		"nota.pdf":            {".pdf", "nota.pdf", "application/pdf", "attachment"},
		"foto.png.exe":        {".pdf", "foto-png.pdf", "application/pdf", "attachment"},
		"<script>.png":        {".png", "script.png", "image/png", "inline"},
		"a.php;.jpg%00.pdf":   {".png", "a-php-jpg-00.png", "image/png", "inline"},
		"%2e%2e%2f%2e%2e.png": {".png", "2e-2e-2f-2e-2e.png", "image/png", "inline"},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.must(w.upload(name, uploads[tc.content]), 200).uploaded(t)
			if got.ID == nil || got.URL == nil || !strings.HasPrefix(*got.URL, w.server.URL+attachmentsPath) || !strings.HasSuffix(*got.URL, "/"+tc.kept) {
				t.Fatalf("answered %+v", got)
			}
			file := w.must(w.fetch(*got.URL, nil), 200)
			if file.body != uploads[tc.content] {
				t.Errorf("%d bytes, want %d", len(file.body), len(uploads[tc.content]))
			}
			for name, want := range map[string]string{
				"Content-Type":            tc.media,
				"Content-Disposition":     tc.disposition + "; filename=" + tc.kept,
				"X-Content-Type-Options":  "nosniff",
				"Content-Security-Policy": "default-src 'none'; sandbox",
				"Cache-Control":           "private, max-age=31536000, immutable",
			} {
				if got := file.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestFilesOfOtherTypesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for _, content := range []string{".html", ".svg", ".exe", ".zip", ".txt", ""} {
		got := w.upload("foto.png", uploads[content])
		e := w.fails(got, 415, unsupportedMedia, "file")
		if u := got.uploaded(t); e.Message != saying(text.Indonesian, textFileRefused) || u.ID != nil || u.URL != nil || !strings.Contains(got.body, `"url":null`) {
			t.Errorf("%s: %s", content, got.body)
		}
	}
}

// Uploads are limited by user and address; what is stored of a user by a quota.
func TestUploadsAreLimited(t *testing.T) {
	w := newWorld(t, nil)
	w.server.Close()
	batcher := rdb.NewBatcher(w.redis, 0)
	t.Cleanup(batcher.Close)
	parts := rdb.NewPartitions(w.prefix, 4)
	files, err := attachments.Open(t.Context(), attachments.Options{
		URL: "mem://", Batcher: batcher, Partitions: parts, Quota: int64(len(pdf)), Erased: w.inbox.Eraser.Erased,
	})
	check(t, err)
	t.Cleanup(func() { check(t, files.Close()) })
	w.options.Attachments = files
	w.options.Limits.Uploads = ratelimit.New(batcher, parts, "uploads", ratelimit.Limits{PerUser: 4})
	w.metrics = prometheus.NewRegistry()
	w.options.Metrics = w.metrics
	w.server = httptest.NewServer(New(w.options))

	w.must(w.upload("a.pdf", pdf), 200)
	e := w.fails(w.upload("b.pdf", pdf), 413, tooLarge, "file")
	if want := fmt.Sprintf("does not fit: your files take %d bytes of %d", len(pdf), len(pdf)); e.Errors["file"] != want {
		t.Errorf("%q, want %q", e.Errors["file"], want)
	}
	got := w.upload("c.pdf", pdf) // of 4 in an hour, 2 are permitted at once
	w.fails(got, 429, rateLimited)
	if s, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || s < 1 || s > 1800 {
		t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
	}
	for by, want := range map[string]float64{"quota": 1, "user": 1, "address": 0} {
		if n := refusals(t, w.metrics, "kabar_uploads_refused_total", by); n != want {
			t.Errorf("%v uploads refused by %s, want %v", n, by, want)
		}
	}
}

func TestUploadsThatCannotBeRead(t *testing.T) {
	w := newWorld(t, nil)
	png := uploads[".png"]
	large := strings.Repeat("x", attachments.MaxSize+1-len(png))
	for name, tc := range map[string]struct {
		media, body string
		status      int
		code        code
		field       string
	}{
		"no form":         {typeJSON, "{}", 415, unsupportedMedia, "Content-Type"},
		"nothing":         {"", "", 415, unsupportedMedia, "Content-Type"},
		"another part":    {boundary, filePart("foto", "a.png", png) + "--XX--", 422, invalid, "file"},
		"an empty form":   {boundary, "--XX--", 422, invalid, "file"},
		"cut off":         {boundary, strings.TrimSuffix(filePart("file", "a.png", png+large[:5000]), "\r\n"), 400, malformed, "body"},
		"damaged":         {boundary, filePart("file", "a.png", png[:40]) + "--XX--", 422, invalid, "file"},
		"cut off at once": {boundary, "--XX\r\nContent-Dis", 400, malformed, "body"},
		"too large":       {boundary, filePart("file", "a.png", png+large) + "--XX--", 413, tooLarge, "file"},
		"far too large":   {boundary, part("x", large) + filePart("file", "a.png", png+large) + "--XX--", 413, tooLarge, "body"},
	} {
		t.Run(name, func(t *testing.T) {
			got := w.do(call{method: "POST", path: uploadPath, auth: ani, media: tc.media, body: tc.body})
			w.fails(got, tc.status, tc.code, tc.field)
			if !strings.Contains(got.body, `"id":null,"url":null`) {
				t.Error(got.body)
			}
		})
	}
	w.fails(w.do(call{method: "POST", path: uploadPath, media: boundary, body: filePart("file", "a.png", png) + "--XX--"}), 401, unauthorized)
	w.must(w.upload("a.png", png+large[1:]), 200) // exactly the largest size allowed
}

func TestPartsOfFiles(t *testing.T) {
	w := newWorld(t, nil)
	png := uploads[".png"]
	address := *w.must(w.upload("a.png", png), 200).uploaded(t).URL
	whole := w.must(w.fetch(address, nil), 200)
	tag := whole.header.Get("ETag")
	if len(tag) != 34 || whole.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%v", whole.header)
	}
	if got := w.fetch(address, map[string]string{"Range": "bytes=4-9"}); got.status != 206 || got.body != png[4:10] {
		t.Errorf("a part: %d %q", got.status, got.body)
	}
	if got := w.fetch(address, map[string]string{"Range": "bytes=-5"}); got.status != 206 || got.body != png[len(png)-5:] {
		t.Errorf("the end: %d %q", got.status, got.body)
	}
	w.must(w.fetch(address, map[string]string{"Range": "bytes=9999-"}), 416)
	if got := w.fetch(address, map[string]string{"If-None-Match": tag}); got.status != 304 || got.body != "" {
		t.Errorf("what the client has: %d %q", got.status, got.body)
	}
}

func TestFilesThatAreNotThere(t *testing.T) {
	w := newWorld(t, nil)
	address := *w.must(w.upload("a.png", uploads[".png"]), 200).uploaded(t).URL
	stem := strings.TrimSuffix(address, "/a.png")
	for _, other := range []string{
		stem + "/b.png", stem + "/a.png.attrs", stem + "/a.html", stem + "/A.png", stem + "/..%2fa.png",
		stem[:len(stem)-1] + "/a.png", strings.Repeat("0", 32) + "/a.png", stem[:len(stem)-32] + "../a.png",
	} {
		if !strings.HasPrefix(other, "http") {
			other = w.server.URL + attachmentsPath + other
		}
		w.fails(w.fetch(other, nil), 404, notFound)
	}
}

func TestAddressOfAFile(t *testing.T) {
	for want, tc := range map[string]struct {
		public string
		header http.Header
	}{
		"http://kabar.test":            {"", nil},
		"https://kabar.test":           {"", http.Header{"X-Forwarded-Proto": {"https"}}},
		"http://kabar.test#odd":        {"", http.Header{"X-Forwarded-Proto": {"javascript"}}},
		"https://chat.example.com":     {"https://chat.example.com/", nil},
		"https://chat.example.com/api": {"https://chat.example.com/api", http.Header{"X-Forwarded-Proto": {"http"}}},
	} {
		f := &files{url: tc.public}
		r := &http.Request{Host: "kabar.test", Header: tc.header}
		if got := f.publicURL(r); got != strings.TrimSuffix(want, "#odd") {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestWithoutABucketThereAreNoAttachments(t *testing.T) {
	h := New(Options{Credentials: fakeCredentials{}, Publisher: fakePublisher{}})
	for _, c := range []call{{method: "POST", path: uploadPath}, {method: "GET", path: attachmentsPath + "x/a.png"}} {
		if got := request(h, c.method, c.path, ""); got.status != 404 {
			t.Errorf("%s %s: %d", c.method, c.path, got.status)
		}
	}
}

// An awayBucket is a store whose bucket is away.
type awayBucket struct{ Attachments }

func (awayBucket) Put(context.Context, int64, string, io.Reader) (attachments.Attachment, error) {
	return attachments.Attachment{}, fmt.Errorf("store attachment: %w", &attachments.BucketError{Err: io.ErrUnexpectedEOF})
}

// A bucket that is away is said to be that, whatever else is away.
func TestBucketAway(t *testing.T) {
	w := newWorld(t, nil)
	w.server.Close()
	w.options.Attachments, w.options.Metrics = awayBucket{w.files}, nil
	w.server = httptest.NewServer(New(w.options))
	for range 2 {
		if got := w.upload("a.pdf", pdf); got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		} else {
			w.fails(got, 503, unavailable)
		}
	}
	const line = `"msg":"the bucket of attachments is unavailable","route":"/v2/chat_attachments.json"`
	if log := w.log.String(); strings.Count(log, line) != 1 || strings.Contains(log, "Redis is") {
		t.Errorf("logged:\n%s", log)
	}
}
