package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/big"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// proxiedName is the name that the documented examples serve.
const proxiedName = "chat.example.com"

// A front is a real proxy with TLS in front of a gateway, configured by the example in
// docs/proxies.
type front struct {
	t    *testing.T
	port string
	root *x509.CertPool
}

// A proxyProgram is a program that a documented example is for.
type proxyProgram struct {
	name string
	// configure writes the configuration into a folder, with the address to listen on, that
	// of the gateway and the files of the certificate, and returns the command to run.
	configure func(t *testing.T, folder, listen, gateway, cert, key string) *exec.Cmd
}

var proxyPrograms = []proxyProgram{{"nginx", configureNginx}, {"caddy", configureCaddy}}

// edit replaces what an example has to have in it.
func edit(t *testing.T, text string, oldNew ...string) string {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if strings.Count(text, oldNew[i]) != 1 {
			t.Fatalf("the example does not have %q once:\n%s", oldNew[i], text)
		}
	}
	return strings.NewReplacer(oldNew...).Replace(text)
}

func readExample(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "proxies", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nginxMain is a main configuration that includes the example, and keeps all files in one
// folder.
const nginxMain = `
daemon off;
master_process off;
error_log stderr warn;
pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[1]s/kabar.conf;
}
`

func configureNginx(t *testing.T, folder, listen, gateway, cert, key string) *exec.Cmd {
	t.Helper()
	writeFile(t, filepath.Join(folder, "kabar.conf"), edit(t, readExample(t, "nginx.conf"),
		"listen 443 ssl;", "listen "+listen+" ssl;",
		"server 127.0.0.1:8080;", "server "+gateway+";",
		"/etc/ssl/certs/chat.example.com.pem", cert,
		"/etc/ssl/private/chat.example.com.key", key))
	main := filepath.Join(folder, "nginx.conf")
	writeFile(t, main, fmt.Sprintf(nginxMain, folder))
	return exec.Command("nginx", "-e", "stderr", "-c", main)
}

func configureCaddy(t *testing.T, folder, listen, gateway, cert, key string) *exec.Cmd {
	t.Helper()
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(folder, "Caddyfile")
	writeFile(t, main, "{\n\tadmin off\n\tauto_https off\n}\n"+edit(t, readExample(t, "Caddyfile"),
		"\n"+proxiedName+" {\n", "\nhttps://"+proxiedName+":"+port+" {\n\tbind 127.0.0.1\n\ttls "+cert+" "+key+"\n",
		"reverse_proxy 127.0.0.1:8080", "reverse_proxy "+gateway))
	cmd := exec.Command("caddy", "run", "--config", main, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+folder, "XDG_DATA_HOME="+folder, "XDG_CONFIG_HOME="+folder)
	return cmd
}

// startFront starts a proxy in front of a gateway. It skips the test where the program is not
// installed, which `make tools` reports.
func startFront(t *testing.T, program proxyProgram, gateway string) *front {
	t.Helper()
	path, err := exec.LookPath(program.name)
	if err != nil {
		path = filepath.Join("/usr/sbin", program.name) // not in everybody's PATH
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not installed: make setup installs it", program.name)
		}
	}
	f := &front{t: t}
	cert, key := f.certificate(t.TempDir())
	for range 10 { // another program may take the port in between
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listen := free.Addr().String()
		free.Close()
		cmd := program.configure(t, t.TempDir(), listen, gateway, cert, key)
		cmd.Path, cmd.Err = path, nil
		said := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if !reachable(t, listen, ended) {
			t.Logf("%s ended at once, another port is tried:\n%s", program.name, said)
			continue
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			<-ended
			if t.Failed() {
				t.Logf("%s said:\n%s", program.name, said)
			}
		})
		_, f.port, _ = net.SplitHostPort(listen)
		return f
	}
	t.Fatalf("%s does not start", program.name)
	return nil
}

// reachable waits until something listens at an address. It is false when the program has
// ended.
func reachable(t *testing.T, address string, ended <-chan error) bool {
	t.Helper()
	tick, late := time.NewTicker(20*time.Millisecond), time.After(waitTimeout)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			select {
			case <-ended: // somebody else listens there
				return false
			default:
				return true
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			return false
		case <-late:
			t.Fatalf("nothing listens at %s", address)
		}
	}
}

// certificate writes a certificate for the name and its key, and trusts it.
func (f *front) certificate(folder string) (cert, key string) {
	f.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: proxiedName}, DNSNames: []string{proxiedName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		f.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		f.t.Fatal(err)
	}
	cert, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	writeFile(f.t, cert, string(public))
	writeFile(f.t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	f.root = x509.NewCertPool()
	f.root.AppendCertsFromPEM(public)
	return cert, key
}

func (f *front) url() string { return "https://" + proxiedName + ":" + f.port }

// from returns a client that connects from an address of this machine.
func (f *front) from(address string) *http.Client {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: f.root},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, "127.0.0.1:"+f.port)
		},
	}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: waitTimeout}
}

// do makes a request through the proxy, and returns the status and the body.
func (f *front) do(client *http.Client, req *http.Request) (int, []byte) {
	f.t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, body
}

func (f *front) request(method, path string, body io.Reader) *http.Request {
	f.t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = f.url() + path
	}
	req, err := http.NewRequestWithContext(f.t.Context(), method, path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.SetBasicAuth("66", "t")
	return req
}

// The documented examples carry requests, sockets and files, and tell Kabar who the client
// is: with each, wrong guesses of a stranger lock out the stranger alone.
func TestProxies(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Skipf("this machine has no further loopback addresses to connect from: %v", err)
	} else {
		l.Close()
	}
	s := newSite(t)
	s.vars = append(s.vars, "KABAR_TRUSTED_PROXIES_CIDRS=127.0.0.1/32", "KABAR_TRUSTED_PROXIES_HEADER=X-Forwarded-For",
		"KABAR_ORIGINS=https://shop.example")
	p := s.serve()
	for i, program := range proxyPrograms {
		t.Run(program.name, func(t *testing.T) {
			f := startFront(t, program, strings.TrimPrefix(p.url, "http://"))
			p.user(66)
			t.Run("attachments", f.attach)
			t.Run("sockets", f.talk)
			user := 100 + i
			p.user(user)
			t.Run("guesses", func(t *testing.T) { f.guess(t, user) })
		})
	}
}

// attach uploads a file that is larger than what nginx takes unless told otherwise, and gets
// it from the address in the answer.
func (f *front) attach(t *testing.T) {
	picture := image.NewNRGBA(image.Rect(0, 0, 800, 800))
	if _, err := rand.Read(picture.Pix); err != nil {
		t.Fatal(err)
	}
	form := &bytes.Buffer{}
	parts := multipart.NewWriter(form)
	part, err := parts.CreateFormFile("file", "picture.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(part, picture); err != nil {
		t.Fatal(err)
	}
	if err := parts.Close(); err != nil {
		t.Fatal(err)
	}
	if form.Len() < 2<<20 {
		t.Fatalf("the form has %d bytes only", form.Len())
	}
	client := f.from("127.0.0.2")
	upload := f.request("POST", "/v2/chat_attachments.json", form)
	upload.Header.Set("Content-Type", parts.FormDataContentType())
	status, body := f.do(client, upload)
	var answer struct{ URL string }
	if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if !strings.HasPrefix(answer.URL, f.url()+"/v2/chat_attachments/") {
		t.Fatalf("the file is said to be at %s", answer.URL)
	}
	if status, body := f.do(client, f.request("GET", answer.URL, nil)); status != 200 || !bytes.HasPrefix(body, []byte("\x89PNG")) {
		t.Errorf("%s: %d, %d bytes", answer.URL, status, len(body))
	}
}

// talk opens sockets from pages: of the site itself, of an allowed origin, and of another.
func (f *front) talk(t *testing.T) {
	client := f.from("127.0.0.2")
	client.Timeout = 0 // would end the socket
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	for origin, want := range map[string]int{f.url(): 101, "https://shop.example": 101, "": 101, "https://evil.example": 403} {
		status, body := f.do(client, f.request("POST", "/v2/live/ticket.json", nil))
		var answer struct{ Ticket string }
		if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		ws, resp, err := websocket.Dial(ctx, f.url()+"/v2/live?ticket="+answer.Ticket, &websocket.DialOptions{
			HTTPClient: client, HTTPHeader: header, Subprotocols: []string{"kabar.v1"},
		})
		if resp == nil || resp.StatusCode != want {
			t.Fatalf("from %q: %v, %v", origin, resp, err)
		}
		if err != nil {
			continue
		}
		var hello struct{ Op string }
		if err := wsjson.Read(ctx, ws, &hello); err != nil || hello.Op != "hello" {
			t.Errorf("from %q: %+v, %v", origin, hello, err)
		}
		ws.CloseNow()
	}
}

// guess guesses a token from one address, which claims to be another one, until it is locked
// out.
func (f *front) guess(t *testing.T, user int) {
	try := func(client *http.Client, token string) int {
		req := f.request("GET", "/v2/notifications/unreads.json", nil)
		req.Header.Set("X-Forwarded-For", "127.0.0.2")
		req.SetBasicAuth(fmt.Sprint(user), token)
		status, _ := f.do(client, req)
		return status
	}
	stranger, owner := f.from("127.0.0.3"), f.from("127.0.0.2")
	last := 401
	for guesses := 0; guesses < 100 && last == 401; guesses++ {
		last = try(stranger, "wrong")
	}
	if last != 429 {
		t.Errorf("the stranger is answered %d", last)
	}
	if status := try(owner, "t"); status != 200 {
		t.Errorf("the user is answered %d", status)
	}
	if status := try(owner, "wrong"); status != 401 {
		t.Errorf("a wrong token of the user is answered %d", status)
	}
}
