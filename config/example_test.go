package config_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/kabar-gateway/kabar/config"
)

// Load reads a file. An environment variable overrides one of the file's keys.
func ExampleLoad() {
	folder, err := os.MkdirTemp("", "kabar")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "kabar.yaml")
	err = os.WriteFile(path, []byte(`
redis:
  url: redis://kabar:s3cret@redis.example:6379/0
services:
  - name: shop
    key_sha256: 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
    scopes: [events]
retention:
  notifications: 30d
`), 0o600)
	if err != nil {
		log.Fatal(err)
	}

	cfg, err := config.Load(path, []string{"KABAR_RETENTION_NOTIFICATIONS=8w"}) // os.Environ() in a program
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cfg.Listen)
	fmt.Println(cfg.Retention.Notifications)
	fmt.Println(cfg.Services[0].Allows(config.ScopeUsers))
	fmt.Println(cfg.Redis.URL)
	// Output:
	// :8080
	// 56d
	// false
	// redis://kabar:***@redis.example:6379/0
}

// All faults are reported at once, together with the valid values.
func ExampleLoad_wrong() {
	_, err := config.Load("", []string{"KABAR_LOCALE=fr", "KABAR_REDIS_PARTITIONS=0", "KABAR_FCM_PROJECT=shop"})
	fmt.Println(err)
	// Output:
	// KABAR_FCM_PROJECT: unknown variable; did you mean KABAR_FCM_PROJECT_ID?
	// redis.partitions: must be between 1 and 1024, not 0
	// locale: must be one of id, en, not "fr"
}
