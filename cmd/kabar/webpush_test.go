package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// A page gets the key of a real gateway, subscribes its browser with it and registers the
// subscription. The browser decrypts what is published. The doctor knows the push service.
func TestBrowserPush(t *testing.T) {
	s := newSite(t)
	service := strings.TrimPrefix(s.sandbox.Web.Endpoint(), "https://")
	key := s.withWebPush()
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
	subscription := p.subscribe(66, "browser", key)
	p.publish(dompetEvent("e1", 66))
	s.arrive("a push to the browser", func() bool { return len(s.sandbox.Web.Pushes()) == 1 })
	var got struct{ Data map[string]any }
	if push := s.sandbox.Web.Pushes()[0]; json.Unmarshal(push.Body, &got) != nil || got.Data["type"] != "dompet" {
		t.Errorf("the browser got %s", push.Body)
	}
	body := fmt.Sprintf(`{"endpoint":%q}`, subscription.Endpoint)
	if status, answer := p.call("DELETE", path, "66:t", asJSON, body); status != 200 {
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

// withWebPush has the site's processes push to the sandbox's browsers, and returns their
// private key.
func (s *site) withWebPush() string {
	s.t.Helper()
	ca, err := s.sandbox.CAFile(s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	key := webpush.NewPrivateKey()
	s.vars = append(s.vars, "KABAR_WEBPUSH_PRIVATE_KEY="+key, "KABAR_WEBPUSH_SUBJECT=mailto:push@kabar.example",
		"KABAR_WEBPUSH_SERVICES="+strings.TrimPrefix(s.sandbox.Web.Endpoint(), "https://"),
		"KABAR_WEBPUSH_CA_FILE="+ca, "KABAR_WEBPUSH_ALLOW_PRIVATE=true")
	return key
}

// subscribe registers a browser of a user. key is the private key of the site.
func (p *process) subscribe(user int, name, key string) sandbox.Subscription {
	p.t.Helper()
	public, err := webpush.PublicKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	subscription, err := p.sandbox.Web.Subscribe(name, public)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := json.Marshal(subscription)
	if err != nil {
		p.t.Fatal(err)
	}
	if status, answer := p.call("POST", "/v2/notifications/web.json", fmt.Sprint(user, ":t"), asJSON, string(body)); status != 200 {
		p.t.Fatal(status, answer)
	}
	return subscription
}
