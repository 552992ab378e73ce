package api

import (
	"context"

	"github.com/kabar-gateway/kabar/dispatcher"
	"github.com/kabar-gateway/kabar/dispatcher/delivery"
	"github.com/kabar-gateway/kabar/dispatcher/event"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/text"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// fakePublisher parses any event and fails to publish it with err.
type fakePublisher struct {
	Publisher
	calls *int // counts the calls of Publish
	err   error
}

func (fakePublisher) LocaleOf(context.Context, int64, string) (text.Locale, error) {
	return text.Indonesian, nil
}

func (fakePublisher) Parse(raw []byte) (*event.Event, error) {
	return &event.Event{ID: "e"}, nil
}

func (f fakePublisher) Publish(_ context.Context, _ string, events ...*event.Event) []dispatcher.Published {
	*f.calls++
	results := make([]dispatcher.Published, len(events))
	for i, e := range events {
		results[i] = dispatcher.Published{ID: e.ID, Err: f.err}
	}
	return results
}

// fakeCredentials lets everybody sign in.
type fakeCredentials struct{ Credentials }

func (fakeCredentials) Authenticate(context.Context, int64, string, string) (int64, error) {
	return 0, nil
}

// fakeCounters fails with err, or panics.
type fakeCounters struct {
	err   error
	panic any
}

func (f fakeCounters) Unreads(context.Context, int64) (model.Unreads, error) {
	if f.panic != nil {
		panic(f.panic)
	}
	return model.Unreads{}, f.err
}

// fakeDeliveries returns its statuses for every event.
type fakeDeliveries struct {
	Deliveries
	statuses []delivery.ReceiverStatus
}

func (f fakeDeliveries) Status(context.Context, string, string) ([]delivery.ReceiverStatus, error) {
	return f.statuses, nil
}

// fakeSender accepts every push.
type fakeSender struct{ types chan string } // receives the type of each push

func (s fakeSender) Probe(context.Context) push.Result { return push.Result{} }

func (s fakeSender) Send(_ context.Context, d *push.Delivery) push.Result {
	s.types <- d.Type
	return push.Result{Outcome: push.Accepted, ProviderID: "provider-id"}
}

// The routes of the default app.
var (
	toAndroid = push.Route{App: push.DefaultApp, Platform: "android"}
	toIOS     = push.Route{App: push.DefaultApp, Platform: "ios", Environment: push.Production}
)

// accepting returns senders for both platforms, and a channel with the types of their
// pushes.
func accepting() (map[push.Route]push.Sender, chan string) {
	s := fakeSender{types: make(chan string, 10)}
	return map[push.Route]push.Sender{toAndroid: s, toIOS: s}, s.types
}
