package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

const (
	// requestTimeout is for one request to the gateway.
	requestTimeout = 30 * time.Second
	// askEvery is the polling interval of until.
	askEvery = 20 * time.Millisecond
	// enrollers is how many users are created at a time.
	enrollers = 16
)

// A client speaks to a gateway's HTTP interface, as services and apps do. It is
// safe for concurrent use.
type client struct {
	api, admin string // base URLs; no admin of a gateway elsewhere
	key        string // of the service
	http       *http.Client
}

func newClient(address, admin, key string) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxIdleConnsPerHost = 1024 // all of them are kept alive
	t.MaxIdleConns = 0
	return &client{
		api:   "http://" + address,
		admin: "http://" + admin,
		key:   key,
		http:  &http.Client{Transport: t, Timeout: requestTimeout},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// do makes a request and returns the body of a successful answer.
func (c *client) do(ctx context.Context, method, url, contentType string, body []byte, sign func(*http.Request)) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if sign != nil {
		sign(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, req.URL.Path, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: %s: %s", method, req.URL.Path, resp.Status, answer)
	}
	return answer, nil
}

func (c *client) asService(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.key) }

// enrol sets the users 1 to n and registers one device for each of them.
func (c *client) enrol(ctx context.Context, p provider, n int) error {
	return eachUser(ctx, n, func(ctx context.Context, user int64) error {
		if err := c.setUser(ctx, user); err != nil {
			return err
		}
		return c.registerDevice(ctx, p, user)
	})
}

// eachUser calls one for the users 1 to n, a few at a time.
func eachUser(ctx context.Context, n int, one func(ctx context.Context, user int64) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var last atomic.Int64
	for range enrollers {
		group.Go(func() error {
			for {
				user := last.Add(1)
				if user > int64(n) {
					return nil
				}
				if err := one(ctx, user); err != nil {
					return fmt.Errorf("user %d: %w", user, err)
				}
			}
		})
	}
	return group.Wait()
}

// setUser sets a user's name and the token that the user signs in with.
func (c *client) setUser(ctx context.Context, user int64) error {
	return c.setToken(ctx, user, secret(user))
}

func (c *client) setToken(ctx context.Context, user int64, token string) error {
	id := strconv.FormatInt(user, 10)
	set, err := json.Marshal(map[string]string{"name": "Toko " + id, "token": token})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, c.api+"/v2/users/"+id+".json", "application/json", set, c.asService)
	return err
}

// registerDevice registers a user's only device.
func (c *client) registerDevice(ctx context.Context, p provider, user int64) error {
	path, device := "/v2/notifications/android.json", url.Values{"reg_id": {p.token(user)}}
	if p == apns {
		path, device = "/v2/notifications/ios.json", url.Values{"token": {p.token(user)}}
	}
	_, err := c.do(ctx, http.MethodPost, c.api+path, "application/x-www-form-urlencoded", []byte(device.Encode()), asUser(user))
	return err
}

// asUser signs a request in as a user.
func asUser(user int64) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(strconv.FormatInt(user, 10), secret(user)) }
}

// unread returns how many transactions ask a user to act.
func (c *client) unread(ctx context.Context, user int64) (int, error) {
	body, err := c.do(ctx, http.MethodGet, c.api+"/v2/notifications/unreads.json", "", nil, asUser(user))
	if err != nil {
		return 0, err
	}
	var numbers struct {
		Transactions int `json:"transactions_need_action_as_seller"`
	}
	err = json.Unmarshal(body, &numbers)
	return numbers.Transactions, err
}

// A pace is how fast a service publishes.
type pace struct {
	publishers int     // requests under way at a time, each on a connection that is kept
	rate       float64 // events a second at most; 0: as fast as the gateway takes them
}

// publish makes the requests to a gateway.
func (c *client) publish(ctx context.Context, all []request, at pace) ([]time.Time, error) {
	return publish(ctx, []*client{c}, all, at)
}

// publish makes the requests to several gateways, each by as many publishers. It returns
// when the request of each event began, in the order of the events.
func publish(ctx context.Context, to []*client, all []request, at pace) ([]time.Time, error) {
	limit := rate.NewLimiter(rate.Inf, 0)
	if at.rate > 0 {
		limit = rate.NewLimiter(rate.Limit(at.rate/float64(all[0].count)), 1)
	}
	group, ctx := errgroup.WithContext(ctx)
	final := all[len(all)-1]
	sent := make([]time.Time, final.first+final.count)
	var next atomic.Int64
	for k := range min(at.publishers, len(all)) {
		group.Go(func() error {
			c := to[k%len(to)]
			for {
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return nil
				}
				if err := limit.Wait(ctx); err != nil {
					return err
				}
				r, now := all[i], time.Now()
				for k := range r.count {
					sent[r.first+k] = now
				}
				if err := c.publishOne(ctx, r); err != nil {
					return fmt.Errorf("publish: %w", err)
				}
				all[i].took = time.Since(now)
			}
		})
	}
	return sent, group.Wait()
}

// startBroadcast starts a broadcast to everyone, with rate users a second.
func (c *client) startBroadcast(ctx context.Context, id string, rate int) error {
	body, err := json.Marshal(map[string]any{
		"id": id, "type": "campaign", "title": "Promo Lebaran", "message": "Diskon sampai 50% hari ini", "audience": "all", "rate": rate,
	})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPost, c.api+"/v2/broadcasts.json", "application/json", body, c.asService)
	return err
}

// accepted is the gateway's answer to one event, or to several.
type accepted struct {
	Status    string     `json:"status"`
	Duplicate bool       `json:"duplicate"`
	Results   []accepted `json:"results"`
}

var errNotAccepted = errors.New("the gateway did not accept every event as new")

func (c *client) publishOne(ctx context.Context, r request) error {
	body, err := c.do(ctx, http.MethodPost, c.api+"/v2/events.json", "application/json", r.body, c.asService)
	if err != nil {
		return err
	}
	var answer accepted
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	each := answer.Results
	if r.body[0] != '[' {
		each = []accepted{answer}
	}
	if len(each) != r.count {
		return fmt.Errorf("%w: %d results for %d", errNotAccepted, len(each), r.count)
	}
	for _, a := range each {
		if a.Status != "OK" || a.Duplicate {
			return fmt.Errorf("%w: %s", errNotAccepted, body)
		}
	}
	return nil
}

// ready waits until the gateway reports ready.
func (c *client) ready(ctx context.Context) error {
	return until(ctx, "the gateway is ready", func() (bool, error) {
		_, err := c.do(ctx, http.MethodGet, c.admin+"/readyz", "", nil, nil)
		return err == nil, nil
	})
}

// settled waits until the gateway's outbox is empty, which means that the outcomes of all
// pushes are written.
func (c *client) settled(ctx context.Context) error {
	return until(ctx, "the outbox is empty", func() (bool, error) {
		text, err := c.do(ctx, http.MethodGet, c.admin+"/metrics", "", nil, nil)
		if err != nil {
			return false, err
		}
		entries, err := sumOf(text, "kabar_outbox_entries{")
		if errors.Is(err, errNoMetric) {
			return false, nil // the gateway could not ask Redis yet
		}
		return entries == 0, err
	})
}

// empty waits until the gateway has no sockets. One elsewhere cannot be asked: its users
// resume either way, and miss nothing.
func (c *client) empty(ctx context.Context) error {
	if c.admin == "" {
		return nil
	}
	return until(ctx, "the gateway's sockets are closed", func() (bool, error) {
		text, err := c.do(ctx, http.MethodGet, c.admin+"/metrics", "", nil, nil)
		if err != nil {
			return false, err
		}
		open, err := sumOf(text, "kabar_live_sockets ")
		return open == 0, err
	})
}

// until calls ask until it returns true.
func until(ctx context.Context, what string, ask func() (bool, error)) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		met, err := ask()
		if met || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
}

// errNoMetric says that a page of metrics has none of a name.
var errNoMetric = errors.New("the gateway has no such metric")

// sumOf adds up the samples in a page of metrics that begin with prefix. The error is
// errNoMetric when there are none.
func sumOf(metrics []byte, prefix string) (float64, error) {
	var sum float64
	found := false
	lines := bufio.NewScanner(bytes.NewReader(metrics))
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", prefix, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%w: %s", errNoMetric, prefix)
	}
	return sum, nil
}

// profile writes a CPU profile of the gateway's next seconds to a file.
func (c *client) profile(ctx context.Context, seconds int, file string) error {
	seconds = min(seconds, int(requestTimeout.Seconds())-1)
	return c.save(ctx, "profile?seconds="+strconv.Itoa(seconds), file)
}

// heap writes a profile of the gateway's live heap into a file.
func (c *client) heap(ctx context.Context, file string) error { return c.save(ctx, "heap?gc=1", file) }

// collect has the gateway collect its garbage, by asking for a heap profile.
func (c *client) collect(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodGet, c.admin+"/debug/pprof/heap?gc=1", "", nil, nil)
	return err
}

// save writes one of the gateway's profiles into a file.
func (c *client) save(ctx context.Context, profile, file string) error {
	text, err := c.do(ctx, http.MethodGet, c.admin+"/debug/pprof/"+profile, "", nil, nil)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return nil
}
