package live

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kabar-gateway/kabar/inbox"
)

// dialIn opens a socket with a language in the handshake.
func (p *process) dialIn(language string, user, since int64) *client {
	p.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, fmt.Sprintf("%s/?user=%d&since=%d", p.url, user, since), &websocket.DialOptions{
		Subprotocols: []string{Subprotocol}, HTTPHeader: http.Header{"Accept-Language": {language}},
	})
	if err != nil {
		p.w.t.Fatal(err)
	}
	p.w.t.Cleanup(func() { ws.CloseNow() })
	return &client{t: p.w.t, ws: ws}
}

// A socket shows Kabar's texts in the language of its handshake, else in that of the user's
// profile. This applies to live and resumed frames, and no frame has all languages.
func TestSocketsSpeakTheirLanguage(t *testing.T) {
	w := newWorld(t)
	english := "en"
	if err := w.Inbox.Profiles.Set(t.Context(), 15, inbox.Profile{Locale: &english}); err != nil {
		t.Fatal(err)
	}
	p := w.start()
	const (
		toSeller   = `"message":"Anda mendapatkan tawaran nego dari Me Ow"`
		toSellerEn = `"message":"You have received an offer from Me Ow"`
		toBuyer    = `"message":"Tawaran nego Anda menunggu jawaban Ani"`
		toBuyerEn  = `"message":"Your offer is waiting for an answer from Ani"`
	)
	type listener struct {
		language string
		user     int64
		want     string
	}
	listeners := []listener{
		{"", 66, toSeller}, {"en-GB", 66, toSellerEn}, {"fr", 66, toSeller},
		{"", 15, toBuyerEn}, {"id", 15, toBuyer},
	}
	since := map[int64]int64{66: w.newest(66), 15: w.newest(15)}
	var clients []*client
	for _, l := range listeners {
		c := p.dialIn(l.language, l.user, since[l.user])
		c.next("hello")
		clients = append(clients, c)
	}
	e, err := w.Parse([]byte(`{"negotiation":{"id":1,"state":"waiting","seller":{"id":66,"name":"Ani"},"buyer":{"id":15,"name":"Me Ow"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if r := w.Publish(t.Context(), "service:test", e)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	for i, l := range listeners {
		resumed := p.dialIn(l.language, l.user, since[l.user])
		for how, c := range map[string]*client{"live": clients[i], "resumed": resumed} {
			if f := c.next("event"); !strings.Contains(f.raw, l.want) || strings.Contains(f.raw, `"texts"`) {
				t.Errorf("%s, %q to %d: %s, want %s", how, l.language, l.user, f.raw, l.want)
			}
		}
	}
}

// Answers to a socket's requests are in its language, too.
func TestAnswersSpeakTheSocketsLanguage(t *testing.T) {
	w := newWorld(t)
	english := "en"
	if err := w.Inbox.Profiles.Set(t.Context(), 15, inbox.Profile{Locale: &english}); err != nil {
		t.Fatal(err)
	}
	p := w.start()
	for _, speaker := range []struct {
		language string
		user     int64
		want     int // index of its language in the texts below
	}{
		{"", 66, 0}, {"en-GB", 66, 1}, {"fr", 66, 0}, {"", 15, 1}, {"id", 15, 0},
	} {
		c := p.dialIn(speaker.language, speaker.user, w.newest(speaker.user))
		c.next("hello")
		partner := 81 - speaker.user // 66 and 15 are partners
		im := fmt.Sprintf(`{"op":"send","instant_message":{"receiver_id":%d,"category":0,"body_bb":"%%s"}}`, partner)
		for _, ask := range []struct {
			frame string
			texts [2]string
		}{
			{fmt.Sprintf(im, "x"), [2]string{"Pesan terkirim", "Message sent"}},
			{fmt.Sprintf(im, ""), [2]string{"Gagal mengirim pesan: harap menggunakan format yang seharusnya", "Failed to send the message: please use the proper format"}},
			{`{"op":"read","notification_id":"x"}`, [2]string{"Notifikasi tersebut tidak dapat ditandai", "This notification cannot be marked"}},
			{`{"op":"read","conversation_id":"x"}`, [2]string{"Permintaan tidak valid", "The request is not valid"}},
			{`{"op":"typing","conversation_id":"0123456789abcdef01234567"}`, [2]string{"Gagal membaca message, hanya bisa membuka inbox milik masing-masing", "Failed to read the message, you can open your own inbox only"}},
			{`{"op":"nonsense"}`, [2]string{"Permintaan tidak dapat dibaca", "The request cannot be read"}},
		} {
			c.write(ask.frame)
			if f := c.next("ack", "error"); f.Message != ask.texts[speaker.want] {
				t.Errorf("%q to %d: %s: %s", speaker.language, speaker.user, ask.frame, f.raw)
			}
		}
	}
}
