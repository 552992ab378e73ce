package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// A page gets the key of a real gateway, subscribes its browser with it and registers the
// subscription. The browser decrypts what is published. The doctor knows the push service.
func TestBrowserPush(t *testing.T) {
	s := newSite(t)
	service := strings.TrimPrefix(s.sandbox.Web.Endpoint(), "https://")
	ca, err := s.sandbox.CAFile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key := webpush.NewPrivateKey()
	s.vars = append(s.vars, "KABAR_WEBPUSH_PRIVATE_KEY="+key, "KABAR_WEBPUSH_SUBJECT=mailto:push@kabar.example",
		"KABAR_WEBPUSH_SERVICES="+service, "KABAR_WEBPUSH_CA_FILE="+ca, "KABAR_WEBPUSH_ALLOW_PRIVATE=true")
	if out := s.must("", "doctor"); !strings.Contains(out, "✓ webpush "+service) {
		t.Errorf("the doctor says\n%s", out)
	}
	p := s.serve()
	p.user(66)
	const path = "/v2/notifications/web.json"
	status, answer := p.call("GET", path, "66:t", "", "")
	public, _ := answer["public_key"].(string)
	if want, _ := webpush.PublicKey(key); status != 200 || public != want {
		t.Fatalf("%d %v, want %s", status, answer, want)
	}
	subscription, err := s.sandbox.Web.Subscribe("browser", public)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(subscription)
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := p.call("POST", path, "66:t", "application/json", string(body)); status != 200 {
		t.Fatalf("%d %v", status, answer)
	}
	p.publish(dompetEvent("e1", 66))
	s.arrive("a push to the browser", func() bool { return s.sandbox.Web.Accepted() == 1 })
	var got struct{ Data map[string]any }
	if push := s.sandbox.Web.Pushes()[0]; json.Unmarshal(push.Body, &got) != nil || got.Data["type"] != "dompet" {
		t.Errorf("the browser got %s", push.Body)
	}
	if status, answer := p.call("DELETE", path, "66:t", "application/json", string(body)); status != 200 {
		t.Errorf("%d %v", status, answer)
	}
	if logs := p.logs(); strings.Contains(logs, subscription.Endpoint) || strings.Contains(logs, subscription.Keys.Auth) || strings.Contains(logs, key) {
		t.Errorf("endpoints or keys in the log:\n%s", logs)
	}
}

// A push service that has no public address gets nothing, unless the operator permits it.
func TestBrowserPushToPrivateAddresses(t *testing.T) {
	s := newSite(t)
	service := strings.TrimPrefix(s.sandbox.Web.Endpoint(), "https://")
	s.vars = append(s.vars, "KABAR_WEBPUSH_PRIVATE_KEY="+webpush.NewPrivateKey(), "KABAR_WEBPUSH_SUBJECT=mailto:push@kabar.example",
		"KABAR_WEBPUSH_SERVICES="+service)
	out, err := s.kabar("", "doctor")
	if err == nil || !strings.Contains(out, "✗ webpush "+service) || !strings.Contains(out, "not public") {
		t.Errorf("the doctor says\n%s", out)
	}
	if n := s.sandbox.Web.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}
