package chat

import (
	"context"
	"strings"
	"testing"

	"github.com/kabar-gateway/kabar/inbox"
	"github.com/kabar-gateway/kabar/inbox/model"
)

// Reading up to an id beyond the newest message leaves no hand-off behind.
func TestReadingBeyondTheNewestMessage(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	w.send(66, 15, "halo")
	if err := w.ReadConversation(ctx, 15, model.ConversationID(66, 15), strings.Repeat("f", model.IDLen)); err != nil {
		t.Fatal(err)
	}
	if n := w.unreadMessages(15); n != 0 {
		t.Errorf("%d unread", n)
	}
	if left := w.handoffs(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// The process dies after marking messages as read and before telling their sender. Another
// process delivers the read receipt.
func TestCrashBetweenReadingAndItsReceipt(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.send(15, 66, "halo")
	r := inbox.ReadReceipt{User: 66, Conversation: model.ConversationID(15, 66), UpTo: id, Partner: 15}
	r.Handoff = handoff{Receipt: &r}.String()
	if _, err := w.inbox.Conversations.MarkRead(ctx, r); err != nil {
		t.Fatal(err)
	}
	w.expire()
	w.run()
	w.eventually("the sender knows", func() bool {
		m, err := w.inbox.Conversations.Message(ctx, 15, id)
		if err != nil {
			t.Fatal(err)
		}
		return m.Read
	})
}
