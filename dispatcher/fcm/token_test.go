package fcm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// newTestTokens returns a token cache that calls fetch for each token. The tokens are
// called t1, t2 and so on, and are valid for an hour.
func newTestTokens(fetch func(n int) error) *tokenCache {
	n := 0
	return &tokenCache{now: time.Now, closeIdle: func() {}, fetch: func() (*oauth2.Token, error) {
		n++
		if err := fetch(n); err != nil {
			return nil, err
		}
		return &oauth2.Token{AccessToken: "t" + strconv.Itoa(n), Expiry: time.Now().Add(time.Hour)}, nil
	}}
}

func TestTokenIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTestTokens(func(int) error { time.Sleep(time.Second); return nil })
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got, err := tk.get(t.Context()); got != "t1" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		tk.close()
	})
}

// A token is renewed five minutes before it expires, and no push waits for the new one.
func TestTokenIsRenewedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTestTokens(func(int) error { time.Sleep(time.Second); return nil })
		want := func(token string) {
			t.Helper()
			if got, err := tk.get(t.Context()); got != token || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, token)
			}
		}
		want("t1")
		time.Sleep(54 * time.Minute)
		want("t1")
		time.Sleep(2 * time.Minute)
		before := time.Now()
		want("t1")
		if time.Since(before) != 0 {
			t.Error("a caller waited")
		}
		time.Sleep(2 * time.Second)
		want("t2")
		tk.close()
	})
}

// A failed renewal is retried while the old token is still valid.
func TestTokenOutlivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := false
		tk := newTestTokens(func(int) error {
			if fails {
				return errors.New("away")
			}
			return nil
		})
		if _, err := tk.get(t.Context()); err != nil {
			t.Fatal(err)
		}
		fails = true
		time.Sleep(58 * time.Minute)
		if got, err := tk.get(t.Context()); got != "t1" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := tk.get(t.Context()); err == nil {
			t.Error("no error after the token's end")
		}
		fails = false
		if _, err := tk.get(t.Context()); err != nil {
			t.Error(err)
		}
		tk.close()
	})
}

func TestTokenObeysTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tk := newTestTokens(func(int) error { time.Sleep(10 * time.Second); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tk.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		tk.close()
	})
}

func TestTokenThatIsDropped(t *testing.T) {
	tk := newTestTokens(func(int) error { return nil })
	defer tk.close()
	first, _ := tk.get(t.Context())
	tk.drop("another")
	if again, _ := tk.get(t.Context()); again != first {
		t.Error("dropping another token dropped this one")
	}
	tk.drop(first)
	if second, err := tk.get(t.Context()); second == first || err != nil {
		t.Errorf("got %q, %v after dropping %q", second, err, first)
	}
}

func TestNoToken(t *testing.T) {
	refused := func(status int) error {
		return &oauth2.RetrieveError{Response: &http.Response{StatusCode: status}}
	}
	for _, test := range []struct {
		err     error
		outcome push.Outcome
		reason  push.Reason
	}{
		{refused(400), push.CredentialsRefused, "credentials"},
		{refused(401), push.CredentialsRefused, "credentials"},
		{refused(429), push.Later, "access_token"},
		{refused(503), push.Later, "access_token"},
		{errors.New("no route"), push.Later, "access_token"},
		{context.DeadlineExceeded, push.Later, "timeout"},
		{context.Canceled, push.Later, "canceled"},
	} {
		r := noToken(test.err)
		if r.Outcome != test.outcome || r.Reason != test.reason || r.Backoff == 0 {
			t.Errorf("%v: got %+v", test.err, r)
		}
	}
}

// credentials returns the key file of a service account, with a new key.
func credentials(t *testing.T, tokenURI string) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return accountFile(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), tokenURI)
}

func accountFile(keyPEM []byte, tokenURI string) []byte {
	file, _ := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "kabar-test", "private_key_id": "1",
		"private_key": string(keyPEM), "client_email": "kabar@kabar-test.iam.gserviceaccount.com", "token_uri": tokenURI,
	})
	return file
}

func TestBadCredentials(t *testing.T) {
	for name, file := range map[string][]byte{
		"not JSON":   []byte("hunter2"),
		"no type":    []byte(`{}`),
		"other type": []byte(`{"type":"hunter2"}`),
		"no key":     accountFile(nil, "https://localhost"),
		"bad key":    accountFile(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hunter2")}), "https://localhost"),
	} {
		_, err := newTokenCache(file, nil, time.Now)
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if name != "other type" && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes the credentials: %v", name, err)
		}
	}
}

func TestKeyFormats(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := checkKey(string(pkcs1)); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))); err == nil {
		t.Error("a public key passed")
	}
}
