package sandbox

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"
)

const (
	authLen       = 16 // bytes of a subscription's secret
	maxVAPIDAge   = 24 * time.Hour
	saltLen       = 16 // bytes, as the following
	recordSizeLen = 4
)

var errUndecryptable = errors.New("the body is not encrypted for this browser")

// browsers holds subscribed browsers by name. The entry of a browser that has unsubscribed is
// nil.
type browsers struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]*browser
}

// A browser has a subscription. It does not change.
type browser struct {
	now      func() time.Time
	key      *ecdh.PrivateKey
	auth     []byte
	senderID []byte // the VAPID public key of whoever may send
	sender   *ecdsa.PublicKey
}

func newBrowsers() *browsers {
	return &browsers{now: time.Now, all: make(map[string]*browser)}
}

func (bs *browsers) subscribe(name, publicKey string) (keys SubscriptionKeys, err error) {
	if name == "" || !onlyLettersDigits(name, "-_") {
		return keys, fmt.Errorf("sandbox: browser %q is not of letters, digits, - and _", name)
	}
	b := &browser{now: bs.now, auth: make([]byte, authLen)}
	if b.senderID, err = base64.RawURLEncoding.DecodeString(publicKey); err != nil {
		return keys, fmt.Errorf("sandbox: VAPID public key: %w", err)
	}
	if b.sender, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b.senderID); err != nil {
		return keys, fmt.Errorf("sandbox: VAPID public key: %w", err)
	}
	if b.key, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
		return keys, err
	}
	rand.Read(b.auth)
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.all[name] = b
	return SubscriptionKeys{
		P256dh: base64.RawURLEncoding.EncodeToString(b.key.PublicKey().Bytes()),
		Auth:   base64.RawURLEncoding.EncodeToString(b.auth),
	}, nil
}

func (bs *browsers) unsubscribe(name string) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.all[name] = nil
}

// find returns a browser, or nil if it has unsubscribed.
func (bs *browsers) find(name string) (b *browser, known bool) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	b, known = bs.all[name]
	return b, known
}

// checkVAPID returns the reason to refuse the credentials of a request to an origin (RFC
// 8292), or "".
func (b *browser) checkVAPID(authorization, origin string) string {
	scheme, parameters, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "vapid") {
		return "Unauthorized"
	}
	values := make(map[string]string)
	for parameter := range strings.SplitSeq(parameters, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		values[name] = value
	}
	id, err := base64.RawURLEncoding.DecodeString(values["k"])
	if err != nil {
		return "BadJWT"
	}
	if !bytes.Equal(id, b.senderID) {
		return "VAPIDMismatch"
	}
	parts := strings.Split(values["t"], ".")
	if len(parts) != 3 {
		return "BadJWT"
	}
	var header struct{ Typ, Alg string }
	var claims struct {
		Aud, Sub string
		Exp      int64
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 || !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) {
		return "BadJWT"
	}
	left := time.Unix(claims.Exp, 0).Sub(b.now())
	if header.Alg != "ES256" || claims.Aud != origin || left <= 0 || left > maxVAPIDAge ||
		!strings.HasPrefix(claims.Sub, "mailto:") && !strings.HasPrefix(claims.Sub, "https://") {
		return "BadJWT"
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(b.sender, digest[:], r, s) {
		return "BadJWT"
	}
	return ""
}

// decrypt returns the text of a body (RFC 8188 with one record, and the keys of RFC 8291).
func (b *browser) decrypt(body []byte) ([]byte, error) {
	salt, rest, ok1 := take(body, saltLen)
	size, rest, ok2 := take(rest, recordSizeLen)
	idLen, rest, ok3 := take(rest, 1)
	if !ok1 || !ok2 || !ok3 {
		return nil, errUndecryptable
	}
	id, record, ok := take(rest, int(idLen[0]))
	if !ok || int64(len(record)) > int64(binary.BigEndian.Uint32(size)) {
		return nil, errUndecryptable
	}
	gcm, nonce, err := b.cipher(salt, id)
	if err != nil {
		return nil, err
	}
	text, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, errUndecryptable
	}
	text = bytes.TrimRight(text, "\x00") // padding
	text, ok = bytes.CutSuffix(text, []byte{2})
	if !ok {
		return nil, errUndecryptable
	}
	return text, nil
}

// cipher returns the cipher and nonce of a body from a sender with a key of its own.
func (b *browser) cipher(salt, senderKey []byte) (gcm cipher.AEAD, nonce []byte, err error) {
	sender, err := ecdh.P256().NewPublicKey(senderKey)
	if err != nil {
		return nil, nil, err
	}
	shared, err := b.key.ECDH(sender)
	if err != nil {
		return nil, nil, err
	}
	info := "WebPush: info\x00" + string(b.key.PublicKey().Bytes()) + string(senderKey)
	secret, err1 := hkdf.Key(sha256.New, shared, b.auth, info, 32)
	key, err2 := hkdf.Key(sha256.New, secret, salt, "Content-Encoding: aes128gcm\x00", 16)
	nonce, err3 := hkdf.Key(sha256.New, secret, salt, "Content-Encoding: nonce\x00", 12)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	gcm, err = cipher.NewGCM(block)
	return gcm, nonce, err
}

// take returns the first n bytes and the others.
func take(b []byte, n int) (head, rest []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
