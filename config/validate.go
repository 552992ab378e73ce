package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A problem is one error in the configuration, with its key or variable.
type problem struct {
	key string
	err error
}

// Error implements error.
func (p problem) Error() string { return p.key + ": " + p.err.Error() }

// Unwrap returns the error without its key.
func (p problem) Unwrap() error { return p.err }

// problems collects the errors in a configuration, in the order of its keys.
type problems []problem

// add records one problem. The message must not contain a secret.
func (p *problems) add(key, format string, args ...any) {
	*p = append(*p, problem{key, fmt.Errorf(format, args...)})
}

// join returns the problems as one error, nil when there are none.
func (p problems) join() error {
	errs := make([]error, len(p))
	for i, one := range p {
		errs[i] = one
	}
	return errors.Join(errs...)
}

// beyond leaves out the problems of keys that have a problem in known, or that lie inside
// of such a key: a value that could not be read was not set.
func (p problems) beyond(known problems) problems {
	return slices.DeleteFunc(p, func(one problem) bool {
		return slices.ContainsFunc(known, func(k problem) bool {
			return one.key == k.key || strings.HasPrefix(one.key, k.key+".")
		})
	})
}

func (p *problems) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(key, "must be one of %s, not %q", strings.Join(allowed, ", "), value)
	}
}

func (p *problems) between(key string, value, low, high int) {
	if value < low || value > high {
		p.add(key, "must be between %d and %d, not %d", low, high, value)
	}
}

func (p *problems) within(key string, value, low, high Duration) {
	if value < low || value > high {
		p.add(key, "must be between %v and %v, not %v", low, high, value)
	}
}

func (p *problems) matches(key, value string, form *regexp.Regexp, meaning string) {
	if !form.MatchString(value) {
		p.add(key, "must be %s, not %q", meaning, value)
	}
}

// address requires host:port. The host may be empty (every interface) and the port 0 (any
// free one).
func (p *problems) address(key, value string) {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		p.add(key, "must be host:port or :port with a port from 0 to 65535, not %q", value)
	}
}

// url requires a URL with one of the schemes and a host. It repeats neither the value nor
// net/url's error, since both may contain a password.
func (p *problems) url(key, value string, schemes ...string) {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || !slices.Contains(schemes, u.Scheme) {
		p.add(key, "must be a URL with a host that starts with %s://", strings.Join(schemes, ":// or "))
	}
}

// file requires a file that can be read, or no name at all.
func (p *problems) file(key, name string) {
	if name == "" {
		return
	}
	if _, err := readFile(name); err != nil {
		p.add(key, "must be a file that can be read: %w", err)
	}
}

// folder requires a folder that can be read, or no name at all.
func (p *problems) folder(key, name string) {
	if name == "" {
		return
	}
	if _, err := os.ReadDir(name); err != nil {
		p.add(key, "must be a folder that can be read: %w", err)
	}
}

// caFile requires a file of PEM certificates, or no name at all.
func (p *problems) caFile(key, name string) {
	if name == "" {
		return
	}
	pem, err := readFile(name)
	switch {
	case err != nil:
		p.add(key, "must be a file that can be read: %w", err)
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		p.add(key, "must hold certificates in PEM form; %s holds none", name)
	}
}

// maxFile is far above the size of any key, certificate bundle or secret, and keeps a wrong
// file name from filling the memory.
const maxFile = 1 << 20

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errors.New(name + " is larger than 1 MiB")
	}
	return data, nil
}
