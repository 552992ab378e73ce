package fcm

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	firebase "firebase.google.com/go/v4"
	"google.golang.org/api/option"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// BenchmarkSend compares the sender with the bare SDK, which sends a message that was built
// before. Both send to the sandbox in this process, so that their common costs, including
// the sandbox's, cancel out in the difference.
func BenchmarkSend(b *testing.B) {
	sb, s := start(b, sandbox.Options{}, nil)
	ctx := context.Background()

	b.Run("kabar", func(b *testing.B) {
		parallel(b, func() bool { return s.Send(ctx, delivery()).Outcome == push.Accepted })
	})
	b.Run("bare", func(b *testing.B) {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: sb.CAPool()}}
		defer transport.CloseIdleConnections()
		app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: "kabar-test"},
			option.WithEndpoint(sb.FCM.Endpoint()), option.WithTelemetryDisabled(),
			option.WithHTTPClient(&http.Client{Transport: transport}))
		if err != nil {
			b.Fatal(err)
		}
		client, err := app.Messaging(ctx)
		if err != nil {
			b.Fatal(err)
		}
		m := message(delivery(), time.Now())
		parallel(b, func() bool {
			_, err := client.Send(ctx, m)
			return err == nil
		})
	})
}

// parallel sends from 50 goroutines per core. One push before that opens the connection.
func parallel(b *testing.B, send func() bool) {
	b.Helper()
	if !send() {
		b.Fatal("not accepted")
	}
	b.ReportAllocs()
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if !send() {
				b.Error("not accepted")
			}
		}
	})
}
