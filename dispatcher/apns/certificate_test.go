package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

func newKeyPEM(t *testing.T) (*ecdsa.PrivateKey, []byte) { return newKey(t, elliptic.P256()) }

// loadCertificate writes a certificate and its key to a .pem file and loads it.
func loadCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, keyPEM := newKeyPEM(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "com.example.app"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "apns.pem")
	content := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM...)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadCertificate(file, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// With a certificate there is no provider token. The connection authenticates with the
// certificate.
func TestCertificate(t *testing.T) {
	sb, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	s, err := New(Options{
		Certificate: loadCertificate(t), Topic: "com.example.app", Endpoint: sb.APNs.Endpoint(), RootCAs: sb.CAPool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r := s.Send(testContext(t), delivery()); r.Outcome != push.Accepted {
		t.Errorf("got %+v", r)
	}
}

// The file contains a self-signed certificate that nobody trusts.
func TestLoadP12(t *testing.T) {
	c, err := LoadCertificate(filepath.Join("testdata", "certificate.p12"), "kabar")
	if err != nil {
		t.Fatal(err)
	}
	if name := c.Leaf.Subject.CommonName; name != "com.example.app" || c.PrivateKey == nil {
		t.Errorf("got %q", name)
	}
	if _, err := LoadCertificate(filepath.Join("testdata", "certificate.p12"), "wrong"); err == nil {
		t.Error("no error with a wrong password")
	}
}

func TestLoadCertificateFails(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"empty.pem", "empty.p12", "empty.pfx"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadCertificate(file, ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := LoadCertificate(filepath.Join(dir, "none.p12"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
