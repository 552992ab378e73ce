package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// redisOf returns the address of a playground's redis-server.
func redisOf(t *testing.T, guide string) string {
	t.Helper()
	m := regexp.MustCompile(`redis-server, a child of this process, on (\S+)`).FindStringSubmatch(guide)
	if m == nil {
		t.Fatalf("no redis-server in:\n%s", guide)
	}
	return m[1]
}

// gatewayOf returns the address of a playground's gateway.
func gatewayOf(t *testing.T, guide string) string {
	t.Helper()
	m := regexp.MustCompile(`gateway +http://(\S+)`).FindStringSubmatch(guide)
	if m == nil {
		t.Fatalf("no gateway in:\n%s", guide)
	}
	return m[1]
}

func answers(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// TestSignals checks that a signal stops everything and that the exit code is 0.
func TestSignals(t *testing.T) {
	needRedis(t)
	for _, s := range stopSignals {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			c := spawn(t, "--data", t.TempDir())
			redis := redisOf(t, c.out.String())
			c.signal(t, s)
			if code := c.exited(t); code != 0 {
				t.Errorf("exit code %d:\n%s", code, c.out)
			}
			c.out.wait(t, "Stopped. The data is kept for the next run.", 1)
			if answers(redis) {
				t.Error("redis-server is still there")
			}
		})
	}
}

// TestAbort checks that a second signal stops the playground although a request never ends,
// and that no redis-server is left behind.
func TestAbort(t *testing.T) {
	needRedis(t)
	t.Parallel()
	data := t.TempDir()
	c := spawn(t, "--data", data)
	conn, err := net.Dial("tcp", gatewayOf(t, c.out.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The response to Expect shows that the request is in progress.
	fmt.Fprintf(conn, "POST /v2/events.json HTTP/1.1\r\nHost: kabar\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", demoKey)
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.signal(t, os.Interrupt)
	c.out.wait(t, "Stopping. Ctrl-C again aborts.", 1)
	c.signal(t, os.Interrupt)
	if code := c.exited(t); code != 130 {
		t.Errorf("exit code %d:\n%s", code, c.out)
	}
	if redis := redisOf(t, c.out.String()); answers(redis) {
		t.Error("redis-server is still there")
	}
	if text := c.out.String(); strings.Contains(text, "Stopped.") {
		t.Errorf("it says that it stopped:\n%s", text)
	}
	launch(t, "--data", data).out.wait(t, "data of an earlier run was found", 1)
}

// TestKilled checks that a new playground ends the redis-server that a killed one has left
// behind, and continues with its data.
func TestKilled(t *testing.T) {
	needRedis(t)
	t.Parallel()
	data := t.TempDir()
	c := spawn(t, "--data", data)
	left := redisOf(t, c.out.String())
	c.signal(t, syscall.SIGKILL)
	c.exited(t)
	if !answers(left) {
		t.Fatal("redis-server ended with its parent: this test shows nothing")
	}
	launch(t, "--data", data).out.wait(t, "data of an earlier run was found", 1)
	if answers(left) {
		t.Error("two redis-servers work in one folder")
	}
}
