package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Somebody opens more connections than the process may have files, asks for something on each
// and keeps it open. Users, probes and the operator are served as before, and the log says
// what happens.
func TestIdleConnectionsStopNobody(t *testing.T) {
	s := newSite(t)
	cmd := s.command("serve")
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = shell, []string{"sh", "-c", `ulimit -n 320 && exec "$0" "$@"`, os.Args[0], "serve"}
	p := s.start(cmd)
	p.user(66)
	for range 400 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := fmt.Fprint(conn, "GET /nothing HTTP/1.1\r\nHost: kabar\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute} // less than connections may be idle
		resp, err := client.Get(p.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 && path != "/readyz" { // which says whether Redis is slow, too
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if status, answer := p.call("GET", "/v2/notifications/unreads.json", "66:t", "", ""); status != 200 {
		t.Errorf("a user is answered %d %v", status, answer)
	}
	p.publish(dompetEvent("e", 66))
	s.arrive("the metric shows it", func() bool { return p.metrics()[`kabar_connections_closed_total{by="files"}`] > 0 })
	if !strings.Contains(p.logs(), "idle connections are closed to make room for new ones") {
		t.Errorf("the log does not say so:\n%s", p.logs())
	}
}
