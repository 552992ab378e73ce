package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Limits of requests to another server.
const (
	// defaultTimeout is the timeout of a request, unless Options say another.
	defaultTimeout = 3 * time.Second

	maxBody    = 256 << 10 // bytes
	maxHeader  = 64 << 10  // bytes
	maxConns   = 64        // at once; further sign-ins wait until their timeout
	maxIdle    = 16        // connections
	idleExpiry = 90 * time.Second
)

// newClient returns a client that follows no redirect: a credential is for one
// server alone.
func newClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxResponseHeaderBytes = maxHeader
		t.MaxConnsPerHost = maxConns
		t.MaxIdleConnsPerHost = maxIdle
		t.IdleConnTimeout = idleExpiry
		transport = t
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch makes a request and returns the status and body of the answer. Its error does not
// show the URL, which may hold a secret.
func fetch(ctx context.Context, client *http.Client, req *http.Request) (status int, body []byte, err error) {
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) {
			err = u.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxBody:
		return 0, nil, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	return resp.StatusCode, body, nil
}

// getRequest returns a request for a URL, without the user and password in it.
func getRequest(address string) (*http.Request, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("is not a valid URL") // the error would show it
	}
	u.User = nil
	return &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: make(http.Header)}, nil
}
