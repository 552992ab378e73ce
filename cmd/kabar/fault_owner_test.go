package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// Pushes wait for a connection whose handshake stalls. Meanwhile another user registers the
// phone: what was for the first user does not reach it any more (G4).
func TestOwnerChangesDuringAHandshake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ service, platform string }{{sandbox.PlatformFCM, "android"}, {sandbox.PlatformAPNs, "ios"}} {
		t.Run(c.service, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			client := s.connect()
			processes := []*process{s.serve(), s.serve()}
			provider := s.sandbox.FCM.Provider
			if c.service == sandbox.PlatformAPNs {
				provider = s.sandbox.APNs.Provider
			}
			first, second := 66, 15
			for _, user := range []int{first, second, 1} {
				processes[0].user(user)
			}
			processes[0].device(first, c.platform, "A")

			end, err := s.sandbox.Inject("stall-handshake", sandbox.FaultOptions{Service: c.service})
			if err != nil {
				t.Fatal(err)
			}
			provider.DropConnections()
			const each = 5
			for i := range each {
				processes[i%2].publish(dompetEvent(fmt.Sprint("secret", i), first))
				status, answer := processes[i%2].call("POST", "/v2/messages.json", "1:t", asJSON,
					fmt.Sprintf(`{"instant_message":{"receiver_id":%d,"category":0,"body_bb":"secret"}}`, first))
				if status != http.StatusOK {
					t.Fatal(status, answer)
				}
			}
			s.arrive("connections whose handshakes stall", func() bool { return provider.Connections() > 0 })
			processes[1].register(second, c.platform, "A")
			before := len(s.pushesTo("A"))
			end()

			processes[0].publish(dompetEvent("own", second))
			s.arrive("the second user's push, and nothing left of the first user's", func() bool {
				return s.unsettled(client) == 0 && len(s.count("A")) > 0 && strings.Contains(fmt.Sprint(s.count("A")), "own")
			})
			for _, p := range s.pushesTo("A")[before:] {
				if strings.Contains(string(p.Body), "secret") || strings.Contains(string(p.Body), fmt.Sprintf(`"receiver_id":"%d"`, first)) {
					t.Errorf("the second user got a push of the first one: %s", p.Body)
				}
			}
		})
	}
}
