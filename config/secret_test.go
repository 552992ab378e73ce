package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A configuration never shows its secrets, however it is printed.
func TestSecretsAreNeverPrinted(t *testing.T) {
	c := Default()
	c.Redis.URL = "redis://kabar:hunter2@127.0.0.1:6379/0"
	c.Auth.UpstreamURL = "https://hunter2@accounts.example/whois"
	c.Auth.JWKS = "https://accounts.example/?token=hunter2"
	c.Auth.HS256Secret = "hunter2"
	c.APNs.CertificatePassword = "hunter2"
	c.Attachments.URL = "s3://kabar?secret_access_key=hunter2&region=a"
	address := RedisAddress{Password: "hunter2", SentinelPassword: "hunter2"}

	var printed bytes.Buffer
	for _, value := range []any{c, *c, c.Auth, c.Auth.HS256Secret, c.Redis.URL, address} {
		fmt.Fprintf(&printed, "%v %+v %#v %s %q %x\n", value, value, value, value, value, value)
		if err := json.NewEncoder(&printed).Encode(value); err != nil {
			t.Fatal(err)
		}
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("configuration", "value", value)
		slog.New(slog.NewTextHandler(&printed, nil)).Info("configuration", "value", value)
	}
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(text)

	got := printed.String()
	if strings.Contains(got, marker) || strings.Contains(got, fmt.Sprintf("%x", marker)) {
		t.Errorf("a secret was printed:\n%s", got)
	}
	if !strings.Contains(got, mask) {
		t.Errorf("nothing shows that there are secrets:\n%s", got)
	}
}

func TestSecret(t *testing.T) {
	for secret, want := range map[Secret]string{"": "", "x": "***", "a much longer one": "***"} {
		if got := secret.String(); got != want {
			t.Errorf("Secret(%q) prints %q, want %q", secret.Reveal(), got, want)
		}
		if got := secret.LogValue().String(); got != want {
			t.Errorf("Secret(%q) logs %q, want %q", secret.Reveal(), got, want)
		}
	}
}

func TestURLString(t *testing.T) {
	for _, test := range []struct{ url, want string }{
		{"", ""},
		{"redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"},
		{"redis://:hunter2@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0"},
		{"redis://kabar:hunter2@127.0.0.1", "redis://kabar:***@127.0.0.1"},
		{"redis://hunter2@127.0.0.1", "redis://***@127.0.0.1"},
		{"redis://a:@127.0.0.1", "redis://a:***@127.0.0.1"},
		{"redis://a:hun/ter2@one,two", "redis://a:***@one,two"},
		{"redis://a:hunter2?#@@one:1/x", "redis://a:***@one:1/x"},
		{"a:hunter2@one", "a:***@one"},
		{"redis-sentinel://one/m?sentinel_password=hunter2&tls=true", "redis-sentinel://one/m?sentinel_password=***&tls=true"},
		{"s3://b?region=a&X-Amz-Signature=hunter2", "s3://b?region=a&X-Amz-Signature=***"},
		{"file://./attachments", "file://./attachments"},
		{"/etc/kabar/jwks.json", "/etc/kabar/jwks.json"},
	} {
		if got := URL(test.url).String(); got != test.want {
			t.Errorf("URL(%q) prints %q, want %q", test.url, got, test.want)
		}
	}
}
