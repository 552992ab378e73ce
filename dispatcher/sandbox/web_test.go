package sandbox_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kabar-gateway/kabar/dispatcher/sandbox"
)

// A vapid is a VAPID key pair.
type vapid struct{ private, public string }

func newVAPID(t *testing.T) vapid {
	t.Helper()
	private, public, err := webpush.GenerateVAPIDKeys()
	if err != nil {
		t.Fatal(err)
	}
	return vapid{private, public}
}

// sendWeb sends a push with the library. change may change its options.
func sendWeb(t *testing.T, s *sandbox.Sandbox, to sandbox.Subscription, key vapid, text string, change func(*webpush.Options)) (status int, header http.Header, body string) {
	t.Helper()
	o := &webpush.Options{
		HTTPClient: httpClient(t, s), Subscriber: "push@kabar.example", TTL: 60,
		VAPIDPublicKey: key.public, VAPIDPrivateKey: key.private,
	}
	if change != nil {
		change(o)
	}
	keys := webpush.Keys{Auth: to.Keys.Auth, P256dh: to.Keys.P256dh}
	resp, err := webpush.SendNotificationWithContext(t.Context(), []byte(text), &webpush.Subscription{Endpoint: to.Endpoint, Keys: keys}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

func subscribe(t *testing.T, s *sandbox.Sandbox, name string, key vapid) sandbox.Subscription {
	t.Helper()
	subscription, err := s.Web.Subscribe(name, key.public)
	if err != nil {
		t.Fatal(err)
	}
	return subscription
}

// A browser decrypts what the library has encrypted for it.
func TestWebPushAcceptsTheLibrarysPush(t *testing.T) {
	s := start(t, sandbox.Options{History: 10})
	key := newVAPID(t)
	text := strings.Repeat("Anda mendapatkan tawaran nego 🇮🇩 ", 20) + "\x00"
	status, header, body := sendWeb(t, s, subscribe(t, s, "browser-1", key), key, text, func(o *webpush.Options) {
		o.Topic, o.Urgency = "a-topic_of_32_characters_exactly", webpush.UrgencyHigh
	})
	p := s.Web.Pushes()
	if status != http.StatusCreated || len(p) != 1 || header.Get("Location") != "/message/"+p[0].ID {
		t.Fatalf("%d %v %s, %d pushes", status, header, body, len(p))
	}
	if p[0].Platform != sandbox.PlatformWeb || p[0].Token != "browser-1" || p[0].Endpoint != s.Web.Endpoint()+"/push/browser-1" || string(p[0].Body) != text || !p[0].Accepted() {
		t.Errorf("push is %+v", p[0])
	}
	if p[0].Header.Get("Authorization") != "" || p[0].Header.Get("Topic") != "a-topic_of_32_characters_exactly" {
		t.Errorf("header is %v", p[0].Header)
	}
}

func TestWebPushRefusals(t *testing.T) {
	s := start(t, sandbox.Options{History: 1})
	key, other := newVAPID(t), newVAPID(t)
	to := subscribe(t, s, "browser-1", key)
	gone := subscribe(t, s, "gone", key)
	s.Web.Unsubscribe("gone")
	elsewhere, stranger := to, to
	elsewhere.Endpoint = s.Web.Endpoint() + "/push/nobody"
	stranger.Keys = subscribe(t, s, "stranger", key).Keys
	for _, test := range []struct {
		name   string
		to     sandbox.Subscription
		key    vapid
		change func(*webpush.Options)
		status int
		reason string
	}{
		{"another key", to, other, nil, 403, "VAPIDMismatch"},
		{"another private key", to, vapid{other.private, key.public}, nil, 403, "BadJWT"},
		{"no such subscription", elsewhere, key, nil, 404, "NotFound"},
		{"unsubscribed", gone, key, nil, 410, "Gone"},
		{"another browser's keys", stranger, key, nil, 400, "Undecryptable"},
		{"long topic", to, key, func(o *webpush.Options) { o.Topic = strings.Repeat("x", 33) }, 400, "BadTopic"},
		{"topic not of base64", to, key, func(o *webpush.Options) { o.Topic = "nego:1" }, 400, "BadTopic"},
		{"negative TTL", to, key, func(o *webpush.Options) { o.TTL = -1 }, 400, "BadTTL"},
		{"too large", to, key, func(o *webpush.Options) { o.RecordSize = 4097 }, 413, "PayloadTooLarge"},
	} {
		status, _, body := sendWeb(t, s, test.to, test.key, "halo", test.change)
		if p := s.Web.Pushes(); status != test.status || p[0].Reason != test.reason || p[0].Accepted() {
			t.Errorf("%s: %d %s, %+v", test.name, status, body, p[0])
		}
	}
}

// A push service checks who a VAPID token is for, until when it is valid, whose it is, and
// how its sender can be reached.
func TestVAPIDTokens(t *testing.T) {
	s := start(t, sandbox.Options{History: 1})
	private := newKey(t)
	id, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public := base64.RawURLEncoding.EncodeToString(id)
	to := subscribe(t, s, "browser-1", vapid{public: public})
	now := time.Now()
	token := func(key any, algorithm jose.SignatureAlgorithm, audience, subject string, expires time.Time) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.Signed(signer).Claims(map[string]any{"aud": audience, "sub": subject, "exp": expires.Unix()}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return "vapid t=" + text + ", k=" + public
	}
	good := func() string {
		return token(private, jose.ES256, s.Web.Endpoint(), "mailto:a@b.example", now.Add(time.Hour))
	}
	for _, test := range []struct {
		name, authorization, reason string
	}{
		{"good", good(), ""},
		{"a page as subject", token(private, jose.ES256, s.Web.Endpoint(), "https://b.example", now.Add(time.Hour)), ""},
		{"none", "", "Unauthorized"},
		{"another scheme", "Bearer x", "Unauthorized"},
		{"for another service", token(private, jose.ES256, "https://elsewhere.example", "mailto:a@b.example", now.Add(time.Hour)), "BadJWT"},
		{"expired", token(private, jose.ES256, s.Web.Endpoint(), "mailto:a@b.example", now.Add(-time.Minute)), "BadJWT"},
		{"for more than a day", token(private, jose.ES256, s.Web.Endpoint(), "mailto:a@b.example", now.Add(25*time.Hour)), "BadJWT"},
		{"without a subject", token(private, jose.ES256, s.Web.Endpoint(), "", now.Add(time.Hour)), "BadJWT"},
		{"another signature", token(newKey(t), jose.ES256, s.Web.Endpoint(), "mailto:a@b.example", now.Add(time.Hour)), "BadJWT"},
		{"another algorithm", token(make([]byte, 32), jose.HS256, s.Web.Endpoint(), "mailto:a@b.example", now.Add(time.Hour)), "BadJWT"},
		{"no token", "vapid k=" + public, "BadJWT"},
		{"no key", strings.Replace(good(), "k=", "j=", 1), "VAPIDMismatch"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to.Endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("TTL", "60")
		req.Header.Set("Content-Encoding", "aes128gcm")
		req.Header.Set("Authorization", test.authorization)
		resp, err := httpClient(t, s).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if p := s.Web.Pushes(); p[0].Reason != test.reason || p[0].Accepted() != (test.reason == "") {
			t.Errorf("%s: %d, %+v", test.name, resp.StatusCode, p[0])
		}
	}
}

// Bodies that were cut or changed on the way are not decrypted, and break nothing.
func TestDamagedBodies(t *testing.T) {
	s := start(t, sandbox.Options{History: 1})
	key := newVAPID(t)
	to := subscribe(t, s, "browser-1", key)
	var whole []byte
	client := httpClient(t, s)
	sendWeb(t, s, to, key, "halo", func(o *webpush.Options) {
		o.RecordSize = 128
		o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
			var err error
			if whole, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(whole))
			return client.Do(r)
		})
	})
	for i := range len(whole) {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1
		for _, body := range [][]byte{damaged, whole[:i]} {
			if len(body) == 0 || i >= 16 && i < 20 && len(body) == len(whole) { // the size of records may be any that is large enough
				continue
			}
			sendWeb(t, s, to, key, "halo", func(o *webpush.Options) {
				o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
					return client.Do(r)
				})
			})
			if p := s.Web.Pushes(); p[0].Reason != "Undecryptable" {
				t.Fatalf("byte %d of %d: %+v", i, len(body), p[0])
			}
		}
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func TestSubscribeRefusals(t *testing.T) {
	s := start(t, sandbox.Options{})
	key := newVAPID(t)
	for _, test := range []struct{ name, key string }{
		{"", key.public}, {"a/b", key.public}, {"a", ""}, {"a", "%"}, {"a", key.private},
	} {
		if _, err := s.Web.Subscribe(test.name, test.key); err == nil {
			t.Errorf("%q, %q: no error", test.name, test.key)
		}
	}
}

// A request for anything but a subscription is none that sends a push.
func TestWebPushElsewhere(t *testing.T) {
	s := start(t, sandbox.Options{History: 1})
	for path, status := range map[string]int{"/": 404, "/push/browser-1": 405} {
		resp, err := httpClient(t, s).Get(s.Web.Endpoint() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, status)
		}
	}
	if n := len(s.Web.Pushes()); n != 0 {
		t.Errorf("%d pushes", n)
	}
}
