package api

import (
	"testing"
	"time"
)

func TestSendingWhileRedisIsAway(t *testing.T) {
	h := New(Options{Credentials: fakeCredentials{}, Publisher: fakePublisher{}, Chat: awayChat{}})
	got := request(h, "POST", messagesPath, `{"instant_message":{"receiver_id":"67","category":"0","body_bb":"x","client_id":"c"}}`)
	s := got.said(t)
	if got.status != 503 || got.header.Get("Retry-After") == "" || s.Message != "Gagal mengirim pesan" || *s.ClientID != "c" || s.ID != nil || *s.ConversationID != anisAndBudis {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// A user can send a burst of messages and then has to wait. Others are not affected.
func TestTooManyMessages(t *testing.T) {
	w := newWorld(t, nil)
	const message = "instant_message[receiver_id]=67&instant_message[category]=0&instant_message[body_bb]=x&instant_message[client_id]=c"
	now := time.Now() // the clock stands
	w.now.Store(&now)
	sent := 0
	got := w.basic(ani, "POST", messagesPath, message)
	for ; got.status == 200 && sent < 1000; sent++ {
		got = w.basic(ani, "POST", messagesPath, message)
	}
	w.fails(got, 429, rateLimited)
	if sent != 50 {
		t.Errorf("%d were sent, not 50", sent)
	}
	s := got.said(t)
	if got.header.Get("Retry-After") != "1" || *s.ClientID != "c" || s.ID != nil || *s.ConversationID != anisAndBudis {
		t.Errorf("%v %s", got.header, got.body)
	}
	w.say(budi, "66", "halo")
}
