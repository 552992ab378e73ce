package provider_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/kabar-gateway/kabar/dispatcher/apns"
	"github.com/kabar-gateway/kabar/dispatcher/fcm"
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// recordHeaders starts a provider that accepts every push, and sends the encoded headers of
// each to the channel that it returns.
func recordHeaders(t *testing.T) (url string, roots *x509.CertPool, blocks <-chan []byte) {
	t.Helper()
	borrowed := httptest.NewTLSServer(nil) // only its certificate is used
	borrowed.Close()
	roots = x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: borrowed.TLS.Certificates, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	found, ended := make(chan []byte, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			acceptAll(c, found)
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return "https://" + l.Addr().String(), roots, found
}

// acceptAll answers every request of a connection with 200, until it ends.
func acceptAll(c net.Conn, blocks chan<- []byte) {
	defer c.Close()
	if _, err := io.CopyN(io.Discard, c, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	var ok bytes.Buffer
	hpack.NewEncoder(&ok).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			blocks <- bytes.Clone(f.HeaderBlockFragment())
		case *http2.DataFrame:
			if f.StreamEnded() {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: ok.Bytes(), EndHeaders: true})
				fr.WriteData(f.StreamID, true, []byte("{}"))
			}
		}
	}
}

// APNs gets headers that refer to no earlier push, since most are new in each; so Apple
// recommends. FCM gets those that it knows, and they are all but the length, as references:
// its access token has a kilobyte.
func TestHeadersOnTheWire(t *testing.T) {
	url, roots, blocks := recordHeaders(t)
	sb, err := sandbox.Start(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sb.Close() })
	file, keyID, teamID, err := sb.APNs.WriteKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	one := map[push.Lane]int{push.Urgent: 1, push.Chat: 1, push.Bulk: 1}
	send := func(s push.Sender) []byte {
		t.Helper()
		s.Send(t.Context(), delivery()) // what becomes of it does not matter
		return <-blocks
	}

	toApple, err := apns.New(apns.Options{KeyPEM: key, KeyID: keyID, TeamID: teamID, Topic: "com.example.app", Endpoint: url, RootCAs: roots, InFlight: one})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := hpack.NewDecoder(4096, nil).DecodeFull(send(toApple)); err != nil {
			t.Errorf("a push to APNs refers to headers of an earlier one: %v", err)
		}
	}
	toApple.Close()

	toGoogle, err := fcm.New(t.Context(), fcm.Options{ProjectID: "kabar-test", Endpoint: url + "/v1", RootCAs: roots, InFlight: one})
	if err != nil {
		t.Fatal(err)
	}
	defer toGoogle.Close()
	if first, second := len(send(toGoogle)), len(send(toGoogle)); 4*second > first {
		t.Errorf("the headers of FCM's first push have %d bytes, those of the second %d", first, second)
	}
}
