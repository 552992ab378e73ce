package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemonPackage is built when no daemon is given.
const daemonPackage = "github.com/kabar-gateway/kabar/cmd/kabar"

// startWithin limits how long the daemon may take to start.
const startWithin = 30 * time.Second

// buildDaemon builds the daemon of this module into dir.
func buildDaemon(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, "kabar")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, daemonPackage).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the daemon (run this inside of Kabar's module, or give --kabar): %w\n%s", err, bytes.TrimSpace(out))
	}
	return path, nil
}

// A gateway is a process of the daemon.
type gateway struct {
	*client
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended, and all that it said was read
	err    error         // of the exit, once exited is closed
}

// gatewayOptions configure a gateway.
type gatewayOptions struct {
	binary   string
	redisURL string
	provider Addresses
	inFlight int // of the urgent lane, to each provider; 0: as by default
}

// startGateway starts the daemon on free ports and waits until it is ready. It copies the
// daemon's warnings to log.
func startGateway(ctx context.Context, o gatewayOptions, log io.Writer) (*gateway, error) {
	key := rand.Text()
	g := &gateway{cmd: exec.Command(o.binary, "serve"), exited: make(chan struct{})}
	g.cmd.Env = append(foreignVariables(os.Environ()), o.variables(key)...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to handle
	lines, err := g.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	serves := make(chan logLine, 1)
	go func() { // ends with the process; close waits for it
		readLog(lines, serves, log)
		g.err = g.cmd.Wait()
		close(g.exited)
	}()

	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	select {
	case at := <-serves:
		g.client = newClient(at.Address, at.Admin, key)
		err = g.ready(ctx)
	case <-g.exited:
		err = fmt.Errorf("start the gateway: %w", g.err)
	case <-ctx.Done():
		err = fmt.Errorf("start the gateway: %w", ctx.Err())
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// audit runs `kabar audit`, and returns an error if the data in Redis is inconsistent.
func audit(ctx context.Context, o gatewayOptions) error {
	cmd := exec.CommandContext(ctx, o.binary, "audit")
	cmd.Env = append(foreignVariables(os.Environ()), o.variables(rand.Text())...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("audit: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}

// foreignVariables returns the variables that do not configure a gateway.
func foreignVariables(environ []string) []string {
	var kept []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "KABAR_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// variables configure addresses and files of the daemon. Everything else keeps its
// default.
func (o gatewayOptions) variables(key string) []string {
	sum := sha256.Sum256([]byte(key))
	anyPort := net.JoinHostPort("127.0.0.1", "0")
	p := o.provider
	all := []string{
		"KABAR_LISTEN=" + anyPort,
		"KABAR_ADMIN_LISTEN=" + anyPort,
		"KABAR_REDIS_URL=" + o.redisURL,
		"KABAR_SERVICES=bench:" + hex.EncodeToString(sum[:]),
		"KABAR_DEVICES_PER_USER=0", // all users register from one machine
		"KABAR_DEVICES_PER_ADDRESS=0",
		"KABAR_FCM_PROJECT_ID=" + project,
		"KABAR_FCM_ENDPOINT=" + p.FCM,
		"KABAR_FCM_CA_FILE=" + p.CAFile,
		"KABAR_APNS_KEY_FILE=" + p.KeyFile,
		"KABAR_APNS_KEY_ID=" + p.KeyID,
		"KABAR_APNS_TEAM_ID=" + p.TeamID,
		"KABAR_APNS_TOPIC=" + topic,
		"KABAR_APNS_ENDPOINT=" + p.APNs,
		"KABAR_APNS_CA_FILE=" + p.CAFile,
	}
	if o.inFlight != 0 {
		all = append(all, "KABAR_PUSH_IN_FLIGHT_URGENT="+strconv.Itoa(o.inFlight))
	}
	return all
}

// The app that the pushes are for.
const (
	project = "kabar-bench"
	topic   = "id.example.bench"
)

// A logLine holds the fields of a line of the daemon's log that are used here.
type logLine struct {
	Level   string `json:"level"`
	Message string `json:"msg"`
	Address string `json:"address"`
	Admin   string `json:"admin"`
}

// readLog reads the daemon's log to its end. It sends the line with the daemon's
// addresses, and copies warnings, errors and lines that are not JSON.
func readLog(r io.Reader, serves chan<- logLine, log io.Writer) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var l logLine
		err := json.Unmarshal(lines.Bytes(), &l)
		switch {
		case err != nil, l.Level == "WARN", l.Level == "ERROR":
			fmt.Fprintf(log, "gateway: %s\n", lines.Bytes())
		case l.Message == "kabar serves":
			select {
			case serves <- l:
			default:
			}
		}
	}
	_, _ = io.Copy(io.Discard, r) // what follows a line that is too long
}

func (g *gateway) pid() int { return g.cmd.Process.Pid }

// close stops the daemon with SIGTERM and waits for it.
func (g *gateway) close() error {
	if g.client != nil {
		g.client.close()
	}
	_ = g.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	select {
	case <-g.exited:
		return g.err
	case <-time.After(stopWithin):
		_ = g.cmd.Process.Kill()
		<-g.exited
		return errors.New("the gateway did not stop and was killed")
	}
}
