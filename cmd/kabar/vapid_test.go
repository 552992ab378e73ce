package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/config"
	"github.com/kabar-gateway/kabar/dispatcher/webpush"
)

// What is printed is a configuration, with a key of its own each time.
func TestVAPID(t *testing.T) {
	t.Parallel()
	keys := make(map[string]bool)
	for range 2 {
		var out, errs bytes.Buffer
		if code := run(&env{ctx: t.Context(), out: &out, err: &errs}, []string{"vapid"}); code != 0 {
			t.Fatalf("%d: %s", code, &errs)
		}
		file := filepath.Join(t.TempDir(), "kabar.yaml")
		if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, &out)
		}
		public, err := webpush.PublicKey(cfg.WebPush.PrivateKey.Reveal())
		if err != nil || !strings.Contains(out.String(), "public key: "+public) {
			t.Errorf("%v in\n%s", err, &out)
		}
		keys[public] = true
	}
	if len(keys) != 2 {
		t.Error("the key is always the same")
	}
}
