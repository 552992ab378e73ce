package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func tokens(pushes []sandbox.Push) []string {
	var all []string
	for _, p := range pushes {
		all = append(all, p.Token)
	}
	return all
}

func TestHistoryKeepsTheNewest(t *testing.T) {
	s := start(t, sandbox.Options{History: 3})
	fcm, apns := fcmClient(t, s), apnsClient(t, s)
	for i := range 5 {
		if _, err := fcm.Send(t.Context(), to(fmt.Sprintf("f%d", i))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if _, err := apns.PushWithContext(t.Context(), notification(fmt.Sprintf("a%d", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := tokens(s.FCM.Pushes()), []string{"f2", "f3", "f4"}; !slices.Equal(got, want) {
		t.Errorf("FCM: %v", got)
	}
	if got, want := tokens(s.APNs.Pushes()), []string{"a0", "a2", "a4"}; !slices.Equal(got, want) {
		t.Errorf("APNs: %v", got)
	}
	if got, want := tokens(s.Pushes()), []string{"a0", "f2", "a2", "f3", "f4", "a4"}; !slices.Equal(got, want) {
		t.Errorf("both: %v", got)
	}
}

func TestNoHistoryKeepsNothing(t *testing.T) {
	s := start(t, sandbox.Options{})
	if _, err := push(t.Context(), t, s, "a"); err != nil {
		t.Fatal(err)
	}
	if len(s.Pushes()) != 0 || s.APNs.Count() != 1 {
		t.Errorf("%d kept, %d counted", len(s.Pushes()), s.APNs.Count())
	}
}

func TestSubscribe(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := apnsClient(t, s)
	all, stopAll := s.Subscribe(10)
	one, stopOne := s.Subscribe(1)
	for _, token := range []string{"a", "b", "unregistered"} {
		if _, err := client.PushWithContext(t.Context(), notification(token)); err != nil {
			t.Fatal(err)
		}
	}
	stopAll()
	stopAll()
	stopOne()
	var got []string
	for p := range all {
		got = append(got, fmt.Sprint(p.Token, p.Answer))
	}
	if want := []string{"a200", "b200", "unregistered410"}; !slices.Equal(got, want) {
		t.Errorf("received %v", got)
	}
	if p := <-one; p.Token != "a" {
		t.Errorf("received %+v", p)
	}
	if _, open := <-one; open {
		t.Error("a full buffer grew")
	}
}

func TestSubscribeAfterClose(t *testing.T) {
	s := start(t, sandbox.Options{})
	s.Close()
	ch, stop := s.Subscribe(1)
	defer stop()
	if _, open := <-ch; open {
		t.Error("the channel is open")
	}
}

func TestOnPushSeesTheAnswer(t *testing.T) {
	var seen atomic.Pointer[sandbox.Push]
	s := start(t, sandbox.Options{OnPush: func(p *sandbox.Push) { seen.Store(p) }})
	if _, err := push(t.Context(), t, s, "unregistered"); err != nil {
		t.Fatal(err)
	}
	if p := seen.Load(); p == nil || p.Answer != 410 || p.Reason != "Unregistered" || p.At.IsZero() {
		t.Errorf("saw %+v", p)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := start(t, sandbox.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := s.Wait(ctx, func() bool {
		calls++
		cancel()
		return false
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("Wait: %v after %d calls", err, calls)
	}
}
