package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"github.com/google/uuid"
	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
)

// bareStreams is how many requests the bare loop has in flight on a connection. It is the
// gateway's limit: FCM allows 100.
const bareStreams = 90

// bareCmd runs the bare loop for the process that started it.
type bareCmd struct{}

// Run implements the command.
func (bareCmd) Run(e *env) error { return serveParent(e, &Bare{}) }

// Bare is the bare loop in a child process: it calls the SDK for each push and does nothing
// else.
type Bare struct {
	tokens  []string
	workers int
	senders []sender // one a connection
	sent    int      // pushes so far, so that no two of them are the same
}

// A sender sends the n-th push, to the device that has the token.
type sender func(ctx context.Context, n int, token string) error

// BareOptions configure the bare loop.
type BareOptions struct {
	Provider  string
	Addresses Addresses
	Sample    Sample // a push of the gateway's, to be repeated to each of the users
	Users     int
	InFlight  int
}

// Start makes the SDK's clients and opens their connections.
func (b *Bare) Start(o BareOptions, _ *None) error {
	p := provider(o.Provider)
	for user := range o.Users {
		b.tokens = append(b.tokens, p.token(int64(user+1)))
	}
	pem, err := os.ReadFile(o.Addresses.CAFile)
	if err != nil {
		return err
	}
	trust := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	trust.RootCAs.AppendCertsFromPEM(pem)
	b.workers = o.InFlight
	for range (o.InFlight + bareStreams - 1) / bareStreams {
		var s sender
		if p == apns {
			s, err = apnsSender(o, trust.Clone())
		} else {
			s, err = fcmSender(o, trust.Clone())
		}
		if err != nil {
			return err
		}
		b.senders = append(b.senders, s)
		if err := s(context.Background(), len(b.senders), b.tokens[0]); err != nil {
			return fmt.Errorf("first push: %w", err)
		}
	}
	return nil
}

// Push sends one push to each of the users, and returns how long that took.
func (b *Bare) Push(_ None, took *time.Duration) error {
	start := time.Now()
	group, ctx := errgroup.WithContext(context.Background())
	var next atomic.Int64
	first := len(b.senders) + b.sent + 1
	for w := range b.workers {
		send := b.senders[w%len(b.senders)]
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(b.tokens) {
					return nil
				}
				if err := send(ctx, first+i, b.tokens[i]); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	b.sent += len(b.tokens)
	*took = time.Since(start)
	return err
}

// connection returns an HTTP/2 client, which uses one connection while that has free
// streams.
func connection(trust *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}}
}

// apnsSender returns a client on a connection of its own.
func apnsSender(o BareOptions, trust *tls.Config) (sender, error) {
	key, err := token.AuthKeyFromFile(o.Addresses.KeyFile)
	if err != nil {
		return nil, err
	}
	client := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: o.Addresses.KeyID, TeamID: o.Addresses.TeamID})
	client.Host = o.Addresses.APNs
	client.HTTPClient = connection(trust)
	h := o.Sample.Header
	priority, err := strconv.Atoi(h.Get("Apns-Priority"))
	if err != nil {
		return nil, fmt.Errorf("apns-priority: %w", err)
	}
	expiration, err := strconv.ParseInt(h.Get("Apns-Expiration"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("apns-expiration: %w", err)
	}
	return func(ctx context.Context, n int, token string) error {
		resp, err := client.PushWithContext(ctx, &apns2.Notification{
			ApnsID:      numbered(n).String(),
			CollapseID:  tagPrefix + strconv.Itoa(n),
			DeviceToken: token,
			Topic:       h.Get("Apns-Topic"),
			Expiration:  time.Unix(expiration, 0),
			Priority:    priority,
			Payload:     o.Sample.Body,
			PushType:    apns2.EPushType(h.Get("Apns-Push-Type")),
		})
		if err == nil && !resp.Sent() {
			err = errors.New(resp.Reason)
		}
		return err
	}, nil
}

// numbered returns a UUID that holds n.
func numbered(n int) uuid.UUID {
	var u uuid.UUID
	for i := len(u) - 1; n > 0; i-- {
		u[i], n = byte(n), n>>8
	}
	return u
}

// fcmSender returns a client on a connection of its own.
func fcmSender(o BareOptions, trust *tls.Config) (sender, error) {
	ctx := context.Background()
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: project},
		option.WithEndpoint(o.Addresses.FCM),
		option.WithTelemetryDisabled(),
		option.WithHTTPClient(connection(trust)))
	if err != nil {
		return nil, err
	}
	client, err := app.Messaging(ctx)
	if err != nil {
		return nil, err
	}
	var m messaging.Message
	if err := json.Unmarshal(o.Sample.Body, &m); err != nil {
		return nil, fmt.Errorf("sample: %w", err)
	}
	return func(ctx context.Context, _ int, token string) error {
		push := m
		//lint:ignore SA1019 the bare loop does not change, and the sandbox's phones have registration tokens
		push.Token = token
		_, err := client.Send(ctx, &push)
		return err
	}, nil
}

// A bareLoop is a process of the bare loop.
type bareLoop struct{ *child }

// startBare starts a bare loop and lets it connect.
func startBare(ctx context.Context, o BareOptions, log io.Writer) (*bareLoop, error) {
	c, err := startChild("serve-bare", log)
	if err != nil {
		return nil, err
	}
	if err := c.tell(ctx, "Start", o); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return &bareLoop{c}, nil
}

// push sends one push to each user, and returns how long that took.
func (b *bareLoop) push(ctx context.Context) (took time.Duration, err error) {
	return ask[time.Duration](ctx, b.child, "Push", None{})
}
