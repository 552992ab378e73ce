package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"time"
)

// elsewhereFlags name a gateway that runs already, here or elsewhere. What can be seen from
// here is measured, and nothing is started beside it.
type elsewhereFlags struct {
	URL       string `name:"url" help:"Measure a gateway that runs already, such as https://push.staging.example: what its clients see. It must let services set the users' tokens (auth.mode store)." placeholder:"URL"`
	Key       string `help:"The key of a service of that gateway, with the scopes events and users." env:"KABAR_BENCH_KEY" placeholder:"KEY"`
	FirstUser int64  `help:"The users of that gateway are this one and those that follow. They must be nobody's: they are set, and erased at the end." default:"900000000001"`
}

// maxFirstUser leaves room for the users that follow, in what JSON's readers hold exactly.
const maxFirstUser = 1<<53 - 1 - 1_000_000

// check validates the flags. The others need a gateway of our own.
func (f elsewhereFlags) check(kabar, profile, baseline string) error {
	switch {
	case f.URL == "":
		return nil
	case kabar != "" || profile != "" || baseline != "":
		return errors.New("--url cannot be combined with --kabar, --profile or --baseline")
	}
	u, err := url.Parse(f.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil:
		return errors.New("--url must be like https://push.staging.example, without a path")
	case f.Key == "":
		return errors.New("--url needs --key, or KABAR_BENCH_KEY")
	case f.FirstUser < 1 || f.FirstUser > maxFirstUser:
		return fmt.Errorf("--first-user must be between 1 and %d", int64(maxFirstUser))
	}
	return nil
}

// client returns a client of the gateway. Roots are the authorities that it trusts, nil for
// those of the system.
func (f elsewhereFlags) client(roots *x509.CertPool) (*client, error) {
	u, err := url.Parse(f.URL)
	if err != nil {
		return nil, err
	}
	c := newClient(u.Host, "", f.Key)
	c.admin = ""
	if u.Scheme == "https" {
		c.api = "https://" + u.Host
		c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return c, nil
}

// base is the id before that of the first user.
func (f elsewhereFlags) base() int64 { return f.FirstUser - 1 }

// endpoint returns where the gateway's sockets are opened.
func (c *client) endpoint() endpoint {
	u, err := url.Parse(c.api)
	if err != nil {
		return endpoint{} // it was parsed before
	}
	port := u.Port()
	if u.Scheme != "https" {
		return endpoint{address: net.JoinHostPort(u.Hostname(), cmp.Or(port, "80"))}
	}
	with := c.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	with.ServerName = u.Hostname()
	with.NextProtos = []string{"http/1.1"} // websockets are upgraded from it
	return endpoint{net.JoinHostPort(u.Hostname(), cmp.Or(port, "443")), with}
}

// eraseTimeout limits how long erasing the users may take.
const eraseTimeout = 5 * time.Minute

// visit sets n users of the gateway, calls use, and erases the users, also after an error.
func (f elsewhereFlags) visit(ctx context.Context, e *env, c *client, n int, use func() error) (err error) {
	e.progress("setting the users %d to %d", f.FirstUser, f.base()+int64(n))
	defer func() {
		e.progress("erasing the users")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), eraseTimeout)
		defer cancel()
		failed := eachUser(ctx, n, func(ctx context.Context, user int64) error { return c.eraseUser(ctx, f.base()+user) })
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("erase the users: %w", failed))
		}
	}()
	if err := eachUser(ctx, n, func(ctx context.Context, user int64) error { return c.setUser(ctx, f.base()+user) }); err != nil {
		return err
	}
	return use()
}

// eraseUser erases what is kept of a user.
func (c *client) eraseUser(ctx context.Context, user int64) error {
	_, err := c.do(ctx, http.MethodDelete, c.api+"/v2/users/"+strconv.FormatInt(user, 10)+".json", "", nil, c.asService)
	return err
}

// firstNumber is the number of a run's first event. It is new: the gateway may remember the
// events of earlier runs.
func firstNumber() int64 { return time.Now().UnixMicro() }

// localMachine describes this computer, without a Redis.
func localMachine() machine {
	return machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
}
