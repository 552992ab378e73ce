package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox/localredis"
)

// TestStrangerIsLeftAlone checks that a redis-server of another folder is not stopped, even
// if it listens on the port that this folder's last redis-server had.
func TestStrangerIsLeftAlone(t *testing.T) {
	needRedis(t)
	t.Parallel()
	stranger, err := localredis.Start(t.Context(), localredis.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for _, address := range []string{stranger.Addr(), "127.0.0.1:1", "no address", ""} {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, addressName), []byte(address), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openServer(t.Context(), data)
		if err != nil {
			t.Fatalf("%q: %v", address, err)
		}
		if err := s.close(); err != nil {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := os.Stat(filepath.Join(data, addressName)); err == nil {
			t.Errorf("%q: the address is still there after the server has ended", address)
		}
	}
	if !answers(stranger.Addr()) {
		t.Error("another folder's redis-server was stopped")
	}
}

// TestDataFolder checks the error for a data folder that cannot be created.
func TestDataFolder(t *testing.T) {
	needRedis(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), newConsole(), newConsole(), append([]string{"--data", file}, free...))
	if err == nil || err.Error() != "--data: mkdir "+file+": not a directory" {
		t.Errorf("%v", err)
	}
}
