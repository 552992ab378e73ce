package sandbox

import (
	"cmp"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// fcmBodyLimit bounds the request body that is read, in bytes. It is far above the size of
// a valid message.
const fcmBodyLimit = 1 << 20

// fcmAPI is FCM's HTTP v1 API: POST /v1/projects/{project}/messages:send.
type fcmAPI struct {
	names  atomic.Uint64 // number of names given, which makes them unique
	tokens *accessTokens
}

// read implements api.
func (f *fcmAPI) read(r *http.Request) (*Push, answer, error) {
	if r.URL.Path == tokenPath && r.Method == http.MethodPost && f.tokens.required.Load() {
		ans, err := f.tokens.grant(r)
		return nil, ans, err
	}
	project, ok := sendPath(r.URL.Path)
	if !ok || r.Method != http.MethodPost {
		return nil, fcmNotFound, nil
	}
	body, err := readBody(r, fcmBodyLimit)
	if err != nil {
		return nil, answer{}, err
	}
	c := checkFCM(body)
	p := &Push{
		Platform: PlatformFCM,
		Token:    c.token,
		Body:     c.message,
		project:  project,
		dryRun:   c.validateOnly,
	}
	if !f.tokens.valid(r.Header.Get("Authorization")) {
		return p, f.refuse(p, Response{Status: http.StatusUnauthorized, NoDetails: true, Message: badCredentials}), nil
	}
	if c.bad != nil {
		return p, c.bad.answer(), nil
	}
	return p, answer{}, nil
}

// sendPath returns the project in the path of a send request.
func sendPath(path string) (project string, ok bool) {
	project, ok = strings.CutPrefix(path, "/v1/projects/")
	if !ok {
		return "", false
	}
	project, ok = strings.CutSuffix(project, "/messages:send")
	return project, ok && project != "" && onlyLettersDigits(project, "-.:")
}

// onlyLettersDigits reports whether s consists of ASCII letters, digits and the characters
// in others.
func onlyLettersDigits(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return true
}

// readBody reads at most limit+1 bytes of a request's body.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= limit {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(io.LimitReader(r.Body, limit+1))
}

// accept implements api.
func (f *fcmAPI) accept(p *Push) answer {
	name := make([]byte, 0, 96)
	name = append(name, "projects/"...)
	name = append(name, p.project...)
	name = append(name, "/messages/"...)
	if p.dryRun {
		name = append(name, "fake_message_id"...) // what the real FCM returns
	} else {
		name = append(name, "0:"...)
		name = strconv.AppendInt(name, time.Now().UnixMicro(), 10)
		name = append(name, '%')
		name = strconv.AppendUint(name, f.names.Add(1), 16)
	}
	p.ID = string(name)
	return answer{
		status:      http.StatusOK,
		contentType: typeJSON,
		body:        []byte("{\n  \"name\": \"" + p.ID + "\"\n}\n"),
	}
}

// refuse implements api.
func (f *fcmAPI) refuse(_ *Push, r Response) answer {
	e := findFCMError(r.Status, r.Reason)
	if e.code == codeInvalidArgument && r.Field != "" && r.Field != tokenField {
		e.message = "Request contains an invalid argument."
	}
	e.message = cmp.Or(r.Message, e.message)
	if r.NoDetails || e.code == "" {
		return e.answer(nil)
	}
	details := []fcmDetail{{Type: typeFCMError, ErrorCode: e.code}}
	if e.code == codeInvalidArgument && (r.Field != "" || r.Message == "") {
		details = append(details, fieldDetail(cmp.Or(r.Field, tokenField), e.message))
	}
	if r.QuotaSubject != "" {
		details = append(details, fcmDetail{Type: typeQuota, Violations: []quotaViolation{{r.QuotaSubject, e.message}}})
	}
	return e.answer(details)
}

// magic implements api.
func (f *fcmAPI) magic(t *magicToken) Response { return Response{Reason: t.fcm} }
