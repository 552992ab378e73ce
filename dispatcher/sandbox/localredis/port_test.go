package localredis

import "testing"

// The system gives no port of FreePort, nor the bus port above it, to another process.
func TestFreePort(t *testing.T) {
	const picked = 32_768 // the first that Linux picks
	for range 200 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if bus := port + 10_000; port < 1024 || bus >= picked {
			t.Fatalf("port %d, bus port %d", port, bus)
		}
	}
}
