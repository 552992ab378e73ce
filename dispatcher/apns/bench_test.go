package apns

import (
	"context"
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/token"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// BenchmarkSend compares the sender with the bare SDK, which sends a payload that was built
// before. Both send to the sandbox in this process, so that their common costs, including
// the sandbox's, cancel out in the difference.
func BenchmarkSend(b *testing.B) {
	sb, s := start(b, sandbox.Options{}, nil)
	ctx := context.Background()

	b.Run("kabar", func(b *testing.B) {
		parallel(b, func() bool { return s.Send(ctx, delivery()).Outcome == push.Accepted })
	})
	b.Run("bare", func(b *testing.B) {
		client := &apns2.Client{
			Host:  sb.APNs.Endpoint(),
			Token: &token.Token{AuthKey: s.signer.key, KeyID: s.signer.keyID, TeamID: s.signer.teamID},
			HTTPClient: &http.Client{Transport: &http.Transport{
				ForceAttemptHTTP2: true,
				TLSClientConfig:   &tls.Config{RootCAs: sb.CAPool()},
			}},
		}
		defer client.CloseIdleConnections()
		body := payload(delivery())
		parallel(b, func() bool {
			n := newNotification(delivery(), "com.example.app")
			n.Payload = body
			r, err := client.PushWithContext(ctx, n)
			return err == nil && r.Sent()
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
