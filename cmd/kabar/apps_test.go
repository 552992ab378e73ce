package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// withApp configures the app "seller" beside the default one, with providers of its own, which
// it returns.
func (s *site) withApp() *sandbox.Sandbox {
	s.t.Helper()
	box, err := sandbox.Start(sandbox.Options{History: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { box.Close() })
	ca, err := box.CAFile(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	key, keyID, teamID, err := box.APNs.WriteKey(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	apps, err := json.Marshal([]map[string]any{{ // JSON is YAML
		"name": "seller",
		"fcm":  map[string]any{"project_id": "seller-1", "endpoint": box.FCM.Endpoint(), "ca_file": ca},
		"apns": map[string]any{
			"key_file": key, "key_id": keyID, "team_id": teamID, "topic": "id.kabar.seller",
			"endpoint": box.APNs.Endpoint(), "ca_file": ca,
		},
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.vars = append(s.vars, "KABAR_APPS="+string(apps))
	return box
}

// accepted returns to whom the providers' accepted pushes about an event went.
func accepted(box *sandbox.Sandbox, text string) (tokens []string) {
	for _, p := range box.Pushes() {
		if p.Accepted() && strings.Contains(string(p.Body), text) {
			tokens = append(tokens, p.Token)
		}
	}
	return tokens
}

// A user has a phone of each platform with each of two apps. An event reaches those of the
// apps that it names, each through its app's providers.
func TestTwoApps(t *testing.T) {
	s := newSite(t)
	seller := s.withApp()
	p := s.serve()
	p.user(66)
	p.device(66, "android", "shopAndroid")
	p.device(66, "ios", "shopIPhone")
	for path, body := range map[string]string{"android": "reg_id=sellerAndroid&app=seller", "ios": "token=sellerIPhone&app=seller"} {
		if status, answer := p.call("POST", "/v2/notifications/"+path+".json", "66:t", asForm, body); status != 200 {
			t.Fatal(status, answer)
		}
	}
	if status, answer := p.call("POST", "/v2/notifications/android.json", "66:t", asForm, "reg_id=other&app=buyer"); status != 422 || !strings.Contains(fmt.Sprint(answer), "app") {
		t.Errorf("a phone of an unknown app: %d %v", status, answer)
	}
	for _, c := range []struct {
		options      string
		shop, seller int
	}{
		{`{}`, 2, 2},
		{`{"apps":["seller"]}`, 0, 2},
		{`{"apps":["default"]}`, 2, 0},
	} {
		id := fmt.Sprintf("to%d%d", c.shop, c.seller)
		p.publish(fmt.Sprintf(`{"id":%q,"type":"dompet","receiver_id":66,"message":"text of %[1]s","details":{"id":%[1]q,"amount":25000},"options":%s}`, id, c.options))
		s.arrive("every push of "+id, func() bool {
			return len(accepted(s.sandbox, "text of "+id)) == c.shop && len(accepted(seller, "text of "+id)) == c.seller
		})
	}
	for _, id := range []string{"to22", "to02", "to20"} { // so that a push too many had its time
		s.arrive("the end of "+id, func() bool {
			_, answer := p.call("GET", "/v2/events/"+id+".json", serviceKey, "", "")
			return strings.Contains(fmt.Sprint(answer), "push:done")
		})
	}
	for _, c := range []struct {
		box *sandbox.Sandbox
		app string
	}{{s.sandbox, "shop"}, {seller, "seller"}} {
		for _, token := range accepted(c.box, "text of ") {
			if !strings.HasPrefix(token, c.app) {
				t.Errorf("the providers of %s got a push for %s", c.app, token)
			}
		}
	}
	if n := len(accepted(s.sandbox, "text of ")) + len(accepted(seller, "text of ")); n != 8 {
		t.Errorf("%d pushes, want 8", n)
	}
}

// The doctor checks the providers of each app, and names the key of the app that is wrong.
func TestDoctorOfTwoApps(t *testing.T) {
	s := newSite(t)
	seller := s.withApp()
	out := s.must("", "doctor")
	for _, want := range []string{
		"✓ fcm: ", "✓ apns: ", "✓ fcm of seller: a dry run was accepted at " + seller.FCM.Endpoint() + " for project seller-1",
		"✓ apns of seller: " + seller.APNs.Endpoint() + " accepts topic id.kabar.seller",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	seller.APNs.Fail(sandbox.AnyToken, -1, sandbox.Response{Reason: "TopicDisallowed"})
	seller.FCM.Fail(sandbox.AnyToken, -1, sandbox.Response{Status: 404, NoDetails: true})
	out, err := s.kabar("", "doctor")
	if err == nil {
		t.Errorf("nothing is wrong:\n%s", out)
	}
	for _, want := range []string{
		"✓ fcm: ", "✓ apns: ", "✗ fcm of seller: ", "✗ apns of seller: ", "set apps[0].fcm.project_id", "compare apps[0].apns.topic",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
}
