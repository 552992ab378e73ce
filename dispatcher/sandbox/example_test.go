package sandbox_test

import (
	"crypto/tls"
	"fmt"
	"log"
	"net/http"

	"github.com/sideshow/apns2"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// A test can check how a gateway treats a device whose app was removed.
func Example() {
	s, err := sandbox.Start(sandbox.Options{History: 10})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	s.APNs.Fail("ASD223SDA", 1, sandbox.Response{Reason: "Unregistered"})

	client := &apns2.Client{
		Host: s.APNs.Endpoint(),
		HTTPClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: s.CAPool()},
			ForceAttemptHTTP2: true,
		}},
	}
	defer client.CloseIdleConnections()
	resp, err := client.Push(&apns2.Notification{DeviceToken: "ASD223SDA", Topic: "id.pasar.app", Payload: `{"aps":{}}`})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, resp.Reason)
	fmt.Println(len(s.APNs.Pushes()), "push, accepted:", s.APNs.Accepted())
	// Output:
	// 410 Unregistered
	// 1 push, accepted: 0
}
