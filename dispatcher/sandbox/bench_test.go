package sandbox_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

const fcmBody = `{"message":{"token":"dQw4w9WgXcQ:APA91bF5_8ldOZEm34ajCfNx7hZ9","data":{"type":"transaction",` +
	`"receiver_id":"66","message":"Transaksi baru dari Liem Lie Wie","details":"{\"id\":52001,\"state\":\"paid\",` +
	`\"amount\":150000,\"products\":[{\"id\":\"4e5b\",\"name\":\"Sepeda lipat\"}]}"},"android":{"priority":"high",` +
	`"ttl":"3600s","notification":{"title":"Transaksi baru","body":"dari Liem Lie Wie","tag":"trx-52001"}}}}`

const apnsBody = `{"aps":{"alert":{"title":"Transaksi baru","body":"dari Liem Lie Wie"},"badge":3,"thread-id":"trx"},` +
	`"data":{"type":"transaction","receiver_id":66,"details":{"id":52001,"state":"paid","amount":150000}}}`

// apnsHeader has the header fields that a gateway sends with every push.
var apnsHeader = http.Header{
	"Apns-Topic":       {"id.pasar.app"},
	"Apns-Push-Type":   {"alert"},
	"Apns-Priority":    {"10"},
	"Apns-Expiration":  {"1800000000"},
	"Apns-Collapse-Id": {"trx-52001"},
	"Apns-Id":          {"123e4567-e89b-12d3-a456-426655440000"},
}

// BenchmarkPush sends pushes over TLS and HTTP/2 from 64 goroutines. The cost includes that
// of the net/http client.
func BenchmarkPush(b *testing.B) {
	for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
		s := start(b, sandbox.Options{Latency: latency})
		b.Run("fcm/"+latency.String(), func(b *testing.B) {
			benchmark(b, s, s.FCM.Endpoint()+"/projects/pasar/messages:send", nil, fcmBody)
		})
		b.Run("apns/"+latency.String(), func(b *testing.B) {
			benchmark(b, s, s.APNs.Endpoint()+"/3/device/0123456789abcdef", apnsHeader, apnsBody)
		})
	}
}

func benchmark(b *testing.B, s *sandbox.Sandbox, url string, header http.Header, body string) {
	client := httpClient(b, s)
	var failed atomic.Int64
	b.SetParallelism(64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequestWithContext(b.Context(), "POST", url, strings.NewReader(body))
			if header != nil {
				req.Header = header
			}
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				failed.Add(1)
			}
		}
	})
	if failed.Load() > 0 {
		b.Errorf("%d pushes were refused", failed.Load())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
}
