package config

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

// Validate reports each fault as a separate error.
func TestValidateReportsAll(t *testing.T) {
	err := new(Config).Validate()
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error %v, want several joined", err)
	}
	var keys []string
	for _, one := range joined.Unwrap() {
		key, _, _ := strings.Cut(one.Error(), ": ")
		keys = append(keys, key)
	}
	want := "listen admin_listen redis.url redis.partitions redis.prefix auth.mode auth.failures_per_user auth.users_per_address apns.environment android.style " +
		"push.in_flight.urgent push.in_flight.chat push.in_flight.bulk push.retry_for push.lease live.frames live.control_frames live.typing dedupe.window " +
		"attachments.url timezone locale retention.notifications retention.max_notifications log.level log.format"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("faults with\n%s, want\n%s", got, want)
	}
}

func TestLocation(t *testing.T) {
	for name, want := range map[string]string{
		"Asia/Jakarta": "Asia/Jakarta", "UTC": "UTC", "": "UTC", "Local": "UTC", "Asia/Batavia": "UTC",
	} {
		if got := (&Config{Timezone: name}).Location().String(); got != want {
			t.Errorf("location of %q is %s, want %s", name, got, want)
		}
	}
}

func TestEnabled(t *testing.T) {
	if c := Default(); c.FCM.Enabled() || c.APNs.Enabled() {
		t.Error("a provider is on by default")
	}
	if !(FCM{ProjectID: "kabar-test"}).Enabled() {
		t.Error("FCM is off with a project")
	}
	if !(APNs{KeyFile: "key.p8"}).Enabled() || !(APNs{CertificateFile: "certificate.p12"}).Enabled() {
		t.Error("APNs is off with a key or a certificate")
	}
}

func TestSlogLevel(t *testing.T) {
	for name, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		if got := (Log{Level: name}).SlogLevel(); got != want {
			t.Errorf("level %s is %v, want %v", name, got, want)
		}
	}
}

func TestService(t *testing.T) {
	sum := sha256.Sum256([]byte("key"))
	all := Service{KeySHA256: strings.ToUpper(hex.EncodeToString(sum[:]))}
	if all.KeySum() != sum {
		t.Errorf("key sum %x, want %x", all.KeySum(), sum)
	}
	for _, wrong := range []string{"", "00", all.KeySHA256 + "00", strings.Repeat("x", 64)} {
		if got := (Service{KeySHA256: wrong}).KeySum(); got != [sha256.Size]byte{} {
			t.Errorf("key sum of %q is %x, want zeros", wrong, got)
		}
	}
	some := Service{Scopes: []string{ScopeEvents}}
	if !all.Allows(ScopeUsers) || !some.Allows(ScopeEvents) || some.Allows(ScopeUsers) {
		t.Error("a service must be allowed its scopes, and everything when it has no list")
	}
	if (Service{Scopes: []string{}}).Allows(ScopeEvents) {
		t.Error("an empty list of scopes must not allow everything")
	}
}

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		text  string
		want  time.Duration
		shown string
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"1500ms", 1500 * time.Millisecond, "1.5s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"60s", time.Minute, "1m"},
		{"60m", time.Hour, "1h"},
		{"1h1s", time.Hour + time.Second, "1h0m1s"},
		{"-1h", -time.Hour, "-1h"},
		{"10h", 10 * time.Hour, "10h"},
		{"1w", 7 * day, "168h"},
		{"8d", 8 * day, "8d"},
		{"1w2d3h", 9*day + 3*time.Hour, "219h"},
		{"90d", 90 * day, "90d"},
		{"100m", 100 * time.Minute, "1h40m"},
	} {
		got, err := parseDuration(test.text)
		if err != nil || got != Duration(test.want) {
			t.Errorf("%s is %v, %v, want %v", test.text, got, err, test.want)
		}
		if got.String() != test.shown {
			t.Errorf("%s is shown as %s, want %s", test.text, got, test.shown)
		}
		if again, err := parseDuration(got.String()); err != nil || again != got {
			t.Errorf("%s is shown as %s, which is read as %v, %v", test.text, got, again, err)
		}
	}
	for _, text := range []string{"", "3", "d", "1.5d", "1d1w", "-1d", "1 d", "3 s", "300y", "soon"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
