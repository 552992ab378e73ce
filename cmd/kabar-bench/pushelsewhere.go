package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// runElsewhere measures publishing to a gateway that runs already, and with devices what
// the gateway says of its pushes.
func (c *pushCmd) runElsewhere(ctx context.Context, e *env) error {
	client, err := c.client(nil)
	if err != nil {
		return err
	}
	defer client.close()
	r := &elsewhereReport{
		Scenario: "push", URL: c.URL, Machine: localMachine(), Rounds: c.Rounds, Users: c.Users,
		Publishers: c.Publishers, BatchPublishers: c.BatchPublishers, what: "latency of the request",
	}
	run := &elsewherePush{cmd: c, env: e, client: client, to: everyone(c.Users), next: firstNumber()}
	run.to.base = c.base()
	err = c.visit(ctx, e, client, c.Users, func() error { return run.measure(ctx, r) })
	if err != nil {
		return err
	}
	return e.write(r)
}

// An elsewherePush is a run of the scenario against a gateway elsewhere.
type elsewherePush struct {
	cmd    *pushCmd
	env    *env
	client *client
	to     receivers
	next   int64 // number of the next event
}

// measure measures the cases that the scenario has for one provider.
func (r *elsewherePush) measure(ctx context.Context, into *elsewhereReport) error {
	if r.cmd.Devices {
		err := eachUser(ctx, r.to.n, func(ctx context.Context, user int64) error {
			return r.client.registerDevice(ctx, r.cmd.Provider[0], r.to.user(user-1))
		})
		if err != nil {
			return err
		}
	}
	for _, batch := range batches {
		row := elsewhereRow{Rate: r.cmd.Rate, Batch: batch}
		for n := range r.cmd.Rounds + 1 { // the first one is the warm-up
			if err := r.round(ctx, batch, &row, n); err != nil {
				return fmt.Errorf("%s a request: %w", events(batch), err)
			}
		}
		into.Events = append(into.Events, row)
	}
	return nil
}

// round publishes one event to each user, and checks what became of all of them.
func (r *elsewherePush) round(ctx context.Context, batch int, row *elsewhereRow, n int) error {
	at := pace{r.cmd.Publishers, r.cmd.Rate}
	if batch > 1 {
		at.publishers = r.cmd.BatchPublishers
	}
	first := r.next
	r.next += int64(r.to.n)
	all := requests(first, r.to, batch, true)
	begin := time.Now()
	if _, err := r.client.publish(ctx, all, at); err != nil {
		return err
	}
	perSecond := float64(r.to.n) / time.Since(begin).Seconds()
	pushes, err := r.pushes(ctx, first)
	if err != nil || n == 0 {
		return err
	}
	each := make([]float64, len(all))
	for i, request := range all {
		each[i] = float64(request.took.Nanoseconds()) / 1e6
	}
	slices.Sort(each)
	row.add(perSecond, percentile(each, 50), percentile(each, 99))
	if r.cmd.Devices {
		row.PushP50.add(percentile(pushes, 50))
		row.PushP99.add(percentile(pushes, 99))
	}
	r.env.progress("%s a request, round %d: %.0f events/s, p50 %.2f ms, p99 %.2f ms",
		events(batch), n, perSecond, percentile(each, 50), percentile(each, 99))
	return nil
}

// pushes asks what became of the events from first on, until the gateway has an outcome of
// each. It returns how long each push took, from storing the event to the provider's answer
// by the gateway's clock, in ms, sorted; none without devices. The error is errWrongFate
// unless each event was stored for its receiver once, and each push accepted.
func (r *elsewherePush) pushes(ctx context.Context, first int64) (latencies []float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var mu sync.Mutex
	err = eachUser(ctx, r.to.n, func(ctx context.Context, place int64) error {
		number, receiver := first+place-1, r.to.user(place-1)
		var of fate
		err := until(ctx, "the push has an outcome", func() (bool, error) {
			var err error
			of, err = r.client.fate(ctx, number)
			return of.settled(), err
		})
		if err != nil {
			return err
		}
		took, err := of.judge(receiver, r.cmd.Devices)
		if err != nil {
			return fmt.Errorf("event %s: %w", eventID(number), err)
		}
		if r.cmd.Devices {
			mu.Lock()
			latencies = append(latencies, float64(took.Microseconds())/1000)
			mu.Unlock()
		}
		return nil
	})
	slices.Sort(latencies)
	return latencies, err
}

// A fate is what became of an event, as the gateway tells it.
type fate struct {
	Receivers []struct {
		ID       int64     `json:"receiver_id"`
		StoredAt time.Time `json:"stored_at"`
		Push     string    `json:"push"`
		Devices  []struct {
			Outcome string    `json:"outcome"`
			At      time.Time `json:"at"`
		} `json:"devices"`
	} `json:"receivers"`
}

// settled reports whether no push is owed any more.
func (f fate) settled() bool {
	for _, r := range f.Receivers {
		if r.Push == "waiting" || r.Push == "retrying" {
			return false
		}
	}
	return true
}

var errWrongFate = errors.New("the gateway says something else than one receiver and, with a device, one accepted push")

// judge checks an event of one receiver, and returns how long its push took.
func (f fate) judge(receiver int64, device bool) (time.Duration, error) {
	if len(f.Receivers) != 1 || f.Receivers[0].ID != receiver {
		return 0, fmt.Errorf("%w: %+v", errWrongFate, f)
	}
	r := f.Receivers[0]
	switch {
	case !device && r.Push == "none":
		return 0, nil
	case device && r.Push == "done" && len(r.Devices) == 1 && r.Devices[0].Outcome == "accepted":
		return r.Devices[0].At.Sub(r.StoredAt), nil
	}
	return 0, fmt.Errorf("%w: %+v", errWrongFate, f)
}

// fate asks what became of an event.
func (c *client) fate(ctx context.Context, number int64) (f fate, err error) {
	body, err := c.do(ctx, http.MethodGet, c.api+"/v2/events/"+url.PathEscape(eventID(number))+".json", "", nil, c.asService)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(body, &f)
}
