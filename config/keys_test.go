package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leaf is the field of one key in a Config.
type leaf struct {
	name  string
	value reflect.Value
}

func leaves(section string, v reflect.Value) []leaf {
	var all []leaf
	for i := range v.NumField() {
		name := join(section, yamlName(v.Type().Field(i)))
		if v.Field(i).Kind() == reflect.Struct {
			all = append(all, leaves(name, v.Field(i))...)
		} else {
			all = append(all, leaf{name, v.Field(i)})
		}
	}
	return all
}

func TestKeysAreDocumented(t *testing.T) {
	names, variables := make(map[string]bool), make(map[string]bool)
	for _, key := range Keys() {
		if key.Doc == "" {
			t.Errorf("%s has no doc tag", key.Name)
		}
		if names[key.Name] || strings.HasSuffix(key.Name, ".") {
			t.Errorf("%s has no name of its own", key.Name)
		}
		names[key.Name] = true
		if variables[key.Env] && key.Env != "" {
			t.Errorf("%s stands for two keys", key.Env)
		}
		variables[key.Env] = true
	}
	for _, leaf := range leaves("", reflect.ValueOf(*Default())) {
		if !names[leaf.name] {
			t.Errorf("Keys leaves %s out", leaf.name)
		}
	}
}

// Names, variables and defaults must not change, because operators rely on them.
func TestKeys(t *testing.T) {
	got := make(map[string]Key)
	for _, key := range Keys() {
		key.Doc = ""
		got[key.Name] = key
	}
	for _, want := range []Key{
		{Name: "listen", Env: "KABAR_LISTEN", Default: ":8080"},
		{Name: "admin_listen", Env: "KABAR_ADMIN_LISTEN", Default: "127.0.0.1:9090"},
		{Name: "redis.url", Env: "KABAR_REDIS_URL", Default: "redis://127.0.0.1:6379/0"},
		{Name: "redis.partitions", Env: "KABAR_REDIS_PARTITIONS", Default: "16"},
		{Name: "redis.prefix", Env: "KABAR_REDIS_PREFIX", Default: "kabar"},
		{Name: "redis.wait_replicas", Env: "KABAR_REDIS_WAIT_REPLICAS", Default: "0"},
		{Name: "redis.allow_volatile", Env: "KABAR_REDIS_ALLOW_VOLATILE", Default: "false"},
		{Name: "origins", Env: "KABAR_ORIGINS"},
		{Name: "trusted_proxies.cidrs", Env: "KABAR_TRUSTED_PROXIES_CIDRS"},
		{Name: "trusted_proxies.header", Env: "KABAR_TRUSTED_PROXIES_HEADER"},
		{Name: "connections.per_address", Env: "KABAR_CONNECTIONS_PER_ADDRESS", Default: "1000"},
		{Name: "connections.total", Env: "KABAR_CONNECTIONS_TOTAL", Default: "10000"},
		{Name: "auth.mode", Env: "KABAR_AUTH_MODE", Default: "store"},
		{Name: "auth.admins", Env: "KABAR_AUTH_ADMINS"},
		{Name: "services", Env: "KABAR_SERVICES"},
		{Name: "services[].key_sha256"},
		{Name: "fcm.credentials_file", Env: "KABAR_FCM_CREDENTIALS_FILE"},
		{Name: "apns.environment", Env: "KABAR_APNS_ENVIRONMENT", Default: "production"},
		{Name: "android.style", Env: "KABAR_ANDROID_STYLE", Default: "notification"},
		{Name: "push.link_schemes", Env: "KABAR_PUSH_LINK_SCHEMES"},
		{Name: "push.in_flight.urgent", Env: "KABAR_PUSH_IN_FLIGHT_URGENT", Default: "400"},
		{Name: "push.in_flight.chat", Env: "KABAR_PUSH_IN_FLIGHT_CHAT", Default: "300"},
		{Name: "push.in_flight.bulk", Env: "KABAR_PUSH_IN_FLIGHT_BULK", Default: "300"},
		{Name: "push.live_grace", Env: "KABAR_PUSH_LIVE_GRACE", Default: "3s"},
		{Name: "push.dismiss", Env: "KABAR_PUSH_DISMISS", Default: "true"},
		{Name: "push.retry_for", Env: "KABAR_PUSH_RETRY_FOR", Default: "24h"},
		{Name: "push.lease", Env: "KABAR_PUSH_LEASE", Default: "30s"},
		{Name: "dedupe.window", Env: "KABAR_DEDUPE_WINDOW", Default: "168h"},
		{Name: "attachments.url", Env: "KABAR_ATTACHMENTS_URL", Default: "file://./attachments"},
		{Name: "timezone", Env: "KABAR_TIMEZONE", Default: "Asia/Jakarta"},
		{Name: "locale", Env: "KABAR_LOCALE", Default: "id"},
		{Name: "retention.notifications", Env: "KABAR_RETENTION_NOTIFICATIONS", Default: "90d"},
		{Name: "retention.messages", Env: "KABAR_RETENTION_MESSAGES", Default: "0s"},
		{Name: "retention.max_notifications", Env: "KABAR_RETENTION_MAX_NOTIFICATIONS", Default: "1000"},
		{Name: "types[].lane"},
		{Name: "log.level", Env: "KABAR_LOG_LEVEL", Default: "info"},
		{Name: "log.format", Env: "KABAR_LOG_FORMAT", Default: "json"},
	} {
		if diff := cmp.Diff(want, got[want.Name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
	}
}

// Every key with a variable is changed by it, and no other key is. A …_file key also
// changes the secret that is read from the file.
func TestEveryVariable(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("kept in a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		if key.Env == "" {
			continue
		}
		t.Run(key.Env, func(t *testing.T) {
			c, problems, err := read("", []string{key.Env + "=" + otherValue(t, key.Name, secretFile)})
			if err != nil || len(problems) > 0 {
				t.Fatal(err, problems)
			}
			before := leaves("", reflect.ValueOf(*Default()))
			for i, after := range leaves("", reflect.ValueOf(*c)) {
				ours := after.name == key.Name || isSecretOf(after.name, key.Name)
				changed := !reflect.DeepEqual(before[i].value.Interface(), after.value.Interface())
				if ours != changed {
					t.Errorf("%s changed: %v, want %v", after.name, changed, ours)
				}
			}
		})
	}
}

// otherValue returns a value of the key's type that is not its default.
func otherValue(t *testing.T, key, secretFile string) string {
	for _, leaf := range leaves("", reflect.ValueOf(*Default())) {
		if leaf.name != key {
			continue
		}
		switch leaf.value.Interface().(type) {
		case string, Secret, URL:
			return secretFile
		case int:
			return "77"
		case bool:
			return strconv.FormatBool(!leaf.value.Bool())
		case Duration:
			return "1w7m"
		case []int64:
			return "1, 2"
		case []string:
			return "one, two"
		case []Service:
			return "shop:00:events"
		case []EventType:
			return "[{name: payout, lane: urgent}]"
		case []App:
			return "[{name: seller, apns: {topic: com.example.seller}}]"
		default:
			t.Fatalf("%s is of a type that this test does not know", key)
		}
	}
	t.Fatalf("no field is called %s", key)
	return ""
}

func isSecretOf(name, fileKey string) bool {
	for _, s := range secrets(new(Config)) {
		if s.key == name && s.key+"_file" == fileKey {
			return true
		}
	}
	return false
}

// Every key that holds a secret has a …_file key.
func TestEverySecretHasAFile(t *testing.T) {
	names := make(map[string]bool)
	for _, key := range Keys() {
		names[key.Name] = true
	}
	c := Default()
	targets := make(map[string]*string)
	for _, s := range secrets(c) {
		targets[s.key] = s.value
	}
	for _, leaf := range leaves("", reflect.ValueOf(c).Elem()) {
		if _, ok := leaf.value.Interface().(Secret); !ok && leaf.name != "redis.url" {
			continue
		}
		if !names[leaf.name+"_file"] {
			t.Errorf("there is no key %s_file", leaf.name)
		}
		if target := targets[leaf.name]; target == nil || leaf.value.Addr().UnsafePointer() != reflect.ValueOf(target).UnsafePointer() {
			t.Errorf("%s_file is not read into %s", leaf.name, leaf.name)
		}
	}
}

func TestVariablesOverrideSecretsOfTheFile(t *testing.T) {
	const path = "testdata/good/secret_files.yaml" // names files for three secrets
	const secret = "given by a variable, 32 bytes or more"
	c, err := Load(path, []string{
		"KABAR_AUTH_HS256_SECRET=" + secret,
		"KABAR_REDIS_URL=redis://127.0.0.1:6379/7",
		"KABAR_APNS_CERTIFICATE_PASSWORD=", // an empty variable does not override the file
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Auth.HS256Secret.Reveal(); got != secret {
		t.Errorf("hs256_secret is %q, want that of the variable", got)
	}
	if got := c.Redis.URL.Reveal(); got != "redis://127.0.0.1:6379/7" {
		t.Errorf("redis.url is %q, want that of the variable", got)
	}
	if got := c.APNs.CertificatePassword.Reveal(); !strings.Contains(got, "from-a-file") || strings.HasSuffix(got, "\n") {
		t.Errorf("certificate_password is %q, want the file's without its line break", got)
	}
}
