package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// push sends one APNs push and returns the status or the error.
func push(ctx context.Context, t testing.TB, s *sandbox.Sandbox, token string) (int, error) {
	resp, err := apnsClient(t, s).PushWithContext(ctx, notification(token))
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

func TestFailCountsPerToken(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := apnsClient(t, s)
	s.APNs.Fail("a", 2, sandbox.Response{Status: 500})
	s.APNs.Fail("b", -1, sandbox.Response{Status: 503})
	s.APNs.Fail(sandbox.AnyToken, 1, sandbox.Response{Status: 429})
	want := []struct {
		token  string
		status int
	}{
		{"a", 500}, {"b", 503}, {"a", 500}, {"c", 429}, {"a", 200}, {"b", 503}, {"c", 200}, {"b", 503},
	}
	for i, w := range want {
		resp, err := client.PushWithContext(t.Context(), notification(w.token))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != w.status {
			t.Errorf("push %d to %s: %d, want %d", i, w.token, resp.StatusCode, w.status)
		}
	}
	s.APNs.Fail("b", 0, sandbox.Response{})
	if status, err := push(t.Context(), t, s, "b"); status != 200 {
		t.Errorf("taken away: %d %v", status, err)
	}
}

func TestAnswerDecidesAboutGoodPushes(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	client := fcmClient(t, s)
	var asked atomic.Int32
	s.FCM.Answer(func(p sandbox.Push) *sandbox.Response {
		asked.Add(1)
		if p.Token == "b" && len(p.Body) > 0 && p.Answer == 0 {
			return &sandbox.Response{Reason: "UNREGISTERED"}
		}
		return nil
	})
	if _, err := client.Send(t.Context(), to("a")); err != nil {
		t.Error(err)
	}
	if _, err := client.Send(t.Context(), to("b")); !messaging.IsUnregistered(err) {
		t.Error(err)
	}
	reserved := to("b")
	reserved.Data = map[string]string{"from": "x"}
	if _, err := client.Send(t.Context(), reserved); !messaging.IsInvalidArgument(err) {
		t.Error(err)
	}
	if got := asked.Load(); got != 2 {
		t.Errorf("asked %d times, want 2: not about requests that FCM refuses itself", got)
	}
	s.FCM.Answer(nil)
	if _, err := client.Send(t.Context(), to("b")); err != nil {
		t.Error(err)
	}
}

func TestLatency(t *testing.T) {
	s := start(t, sandbox.Options{Latency: 30 * time.Millisecond})
	begin := time.Now()
	if _, err := push(t.Context(), t, s, "a"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 30*time.Millisecond {
		t.Errorf("answered after %v", took)
	}

	// A client that gives up cancels its request.
	s.APNs.SetLatency(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := push(ctx, t, s, "a")
		done <- err
	}()
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wait(t, s, func() bool { return s.APNs.Pending() == 0 })
	if s.APNs.Count() != 1 {
		t.Error("an answer that was not delivered counts")
	}

	s.APNs.SetLatency(0)
	if status, err := push(t.Context(), t, s, "a"); status != 200 {
		t.Error(status, err)
	}
}

func TestHang(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	client := fcmClient(t, s)
	s.FCM.Hang(true)
	s.FCM.Hang(true) // a second call changes nothing
	done := make(chan error, 2)
	for _, token := range []string{"a", "b"} {
		go func() {
			_, err := client.Send(t.Context(), to(token))
			done <- err
		}()
	}
	wait(t, s, func() bool { return s.FCM.Pending() == 2 })
	if status, err := push(t.Context(), t, s, "a"); status != 200 {
		t.Errorf("APNs hangs too: %d %v", status, err)
	}
	if s.FCM.Count() != 0 {
		t.Error("answered while hanging")
	}
	s.FCM.Hang(false)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s.FCM.Hang(false)
}

func TestDropConnections(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	s.APNs.Hang(true)
	done := make(chan error, 1)
	go func() {
		_, err := push(t.Context(), t, s, "a")
		done <- err
	}()
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	if got := s.APNs.Connections(); got != 1 {
		t.Errorf("%d connections", got)
	}
	s.APNs.DropConnections()
	if err := <-done; err == nil {
		t.Error("the push survived its connection")
	}
	wait(t, s, func() bool { return len(s.Pushes()) == 1 })
	if p := s.Pushes()[0]; p.Answer != 0 || p.Token != "a" {
		t.Errorf("push is %+v", p)
	}
	if got := s.APNs.Connections(); got != 0 {
		t.Errorf("%d connections", got)
	}
	s.APNs.Hang(false)
	if status, err := push(t.Context(), t, s, "a"); status != 200 {
		t.Error(status, err)
	}
}

func TestLostAnswerIsAnAcceptedPush(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	s.APNs.Fail("a", 1, sandbox.Response{Lost: true})
	if _, err := push(t.Context(), t, s, "a"); err == nil {
		t.Error("the answer arrived")
	}
	if p := s.Pushes(); len(p) != 1 || p[0].Answer != 200 || s.APNs.Accepted() != 1 {
		t.Errorf("pushes are %+v", p)
	}
}

// TestGoAwayLosesNothing sends pushes while connections get GOAWAY again and again. Each
// push is answered exactly once, on one connection or another.
func TestGoAwayLosesNothing(t *testing.T) {
	const senders, each = 20, 50
	s := start(t, sandbox.Options{History: senders * each, Latency: time.Millisecond})
	client := apnsClient(t, s)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				resp, err := client.PushWithContext(t.Context(), notification(fmt.Sprintf("a%dx%d", i, j)))
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("push %d of %d: %v %v", j, i, resp, err)
				}
			}
		})
	}
	for k := 1; k < 5; k++ {
		wait(t, s, func() bool { return s.APNs.Count() >= int64(k*senders*each/5) })
		s.APNs.GoAway()
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, p := range s.Pushes() {
		if seen[p.Token] {
			t.Errorf("%s was pushed twice", p.Token)
		}
		seen[p.Token] = true
	}
	if len(seen) != senders*each {
		t.Errorf("%d pushes", len(seen))
	}
}

func TestGoAwayClosesIdleConnections(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := apnsClient(t, s)
	if _, err := client.PushWithContext(t.Context(), notification("a")); err != nil {
		t.Fatal(err)
	}
	s.APNs.GoAway()
	if resp, err := client.PushWithContext(t.Context(), notification("a")); err != nil || resp.StatusCode != 200 {
		t.Errorf("after GOAWAY: %v %v", resp, err)
	}
}

func TestRefuse(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := apnsClient(t, s)
	if _, err := client.PushWithContext(t.Context(), notification("a")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.APNs.Refuse(true); err != nil {
			t.Fatal(err)
		}
	}
	if resp, err := client.PushWithContext(t.Context(), notification("a")); err != nil || resp.StatusCode != 200 {
		t.Errorf("the open connection: %v %v", resp, err)
	}
	s.APNs.DropConnections()
	if _, err := push(t.Context(), t, s, "a"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v", err)
	}
	for range 2 {
		if err := s.APNs.Refuse(false); err != nil {
			t.Fatal(err)
		}
	}
	if status, err := push(t.Context(), t, s, "a"); status != 200 {
		t.Error(status, err)
	}
}

func TestOutageEnds(t *testing.T) {
	s := start(t, sandbox.Options{})
	client := apnsClient(t, s)
	if _, err := client.PushWithContext(t.Context(), notification("a")); err != nil {
		t.Fatal(err)
	}
	s.APNs.Outage(time.Hour)
	if got := s.APNs.Connections(); got != 0 {
		t.Errorf("%d connections", got)
	}
	if _, err := push(t.Context(), t, s, "a"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("during the outage: %v", err)
	}
	s.APNs.Outage(time.Millisecond) // do not wait for an hour
	deadline := time.Now().Add(testTimeout)
	for {
		resp, err := client.PushWithContext(t.Context(), notification("a"))
		if err == nil && resp.StatusCode == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still out: %v", err)
		}
	}
}

func TestRefuseEndsAnOutage(t *testing.T) {
	s := start(t, sandbox.Options{})
	s.FCM.Outage(time.Hour)
	if err := s.FCM.Refuse(false); err != nil {
		t.Fatal(err)
	}
	if _, err := fcmClient(t, s).Send(t.Context(), to("a")); err != nil {
		t.Error(err)
	}
}

func TestMaxStreamsHoldsRequestsBack(t *testing.T) {
	s := start(t, sandbox.Options{MaxStreams: 3})
	client := httpClient(t, s)
	s.APNs.Hang(true)
	const requests = 9
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			r := send(t, client, "POST", s.APNs.Endpoint()+"/3/device/a", map[string]string{"apns-topic": "a"}, `{}`)
			if r.status != 200 {
				t.Errorf("answer is %d", r.status)
			}
		})
	}
	wait(t, s, func() bool { return s.APNs.Pending() == requests })
	if got := s.APNs.Connections(); got < requests/3 {
		t.Errorf("%d requests on %d connections", requests, got)
	}
	s.APNs.Hang(false)
	wg.Wait()
}

func TestCloseEndsEverything(t *testing.T) {
	s, err := sandbox.Start(sandbox.Options{Latency: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.FCM.Outage(time.Hour)
	done := make(chan error, 1)
	go func() {
		_, err := push(t.Context(), t, s, "a")
		done <- err
	}()
	wait(t, s, func() bool { return s.APNs.Pending() == 1 })
	pushes, cancel := s.Subscribe(1)
	defer cancel()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; err == nil {
		t.Error("a push survived Close")
	}
	for range pushes { // the lost push arrives, then the channel is closed
	}
	s.APNs.GoAway()
	s.APNs.DropConnections()
	if err := s.APNs.Refuse(false); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Refuse after Close: %v", err)
	}
}

func TestStartSaysWhatFails(t *testing.T) {
	s := start(t, sandbox.Options{})
	addr := s.APNs.Endpoint()[len("https://"):]
	for _, opts := range []sandbox.Options{{FCMAddr: addr}, {APNsAddr: addr}} {
		if _, err := sandbox.Start(opts); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Start(%+v): %v", opts, err)
		}
	}
}

func TestCAFile(t *testing.T) {
	s := start(t, sandbox.Options{})
	path, err := s.CAFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pool := s.CAPool().Clone()
	if !pool.AppendCertsFromPEM(pem) || !pool.Equal(s.CAPool()) {
		t.Error("the file holds another authority than the pool")
	}
}
