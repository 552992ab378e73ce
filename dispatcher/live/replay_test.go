package live

import (
	"context"
	"fmt"
	"testing"

	"encoding/json"

	"github.com/kabar-gateway/kabar/inbox"
)

func TestReplay(t *testing.T) {
	w := newWorld(t)
	log := w.start().replayLog
	ctx := context.Background()
	w.publish(66, "promo-1")
	first := w.send(15, 66, "satu")
	gone := w.send(15, 66, "dua")
	_, newest, _, err := log.read(ctx, 66, 0, &inbox.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Inbox.Conversations.DeleteMessage(ctx, 66, gone); err != nil {
		t.Fatal(err)
	}
	logged, _, _, err := w.Inbox.Live.Replay(ctx, 66, 0)
	if err != nil || len(logged) != 3 {
		t.Fatal(logged, err)
	}
	frames, last, known, err := log.read(ctx, 66, 0, &inbox.Snapshot{})
	if err != nil || !known || last != newest || len(frames) != 3 {
		t.Fatalf("%d frames, %d, %v, %v", len(frames), last, known, err)
	}
	prev := int64(0)
	for i, f := range frames {
		var got struct {
			Op             string
			Seq, Prev      int64
			Event          struct{ Type string }
			InstantMessage struct{ ID, Body string } `json:"instant_message"`
		}
		if err := json.Unmarshal(f.text, &got); err != nil {
			t.Fatalf("%s: %v", f.text, err)
		}
		if got.Op != "event" || got.Seq != f.Seq || got.Prev != prev || got.Event.Type != []string{"discount", "message", "deleted"}[i] {
			t.Errorf("frame %s after %d", f.text, prev)
		}
		if i == 1 && (got.InstantMessage.ID != first || got.InstantMessage.Body != "satu") {
			t.Errorf("message frame %s", f.text)
		}
		prev = f.Seq
	}
	for since, want := range map[int64]int{frames[0].Seq: 2, frames[2].Seq: 0} {
		if f, _, known, err := log.read(ctx, 66, since, &inbox.Snapshot{}); len(f) != want || !known || err != nil {
			t.Errorf("since %d: %d frames, %v, %v", since, len(f), known, err)
		}
	}
	if _, _, known, err := log.read(ctx, 66, 12345, &inbox.Snapshot{}); known || err != nil {
		t.Errorf("a sequence number that never existed: known %v, %v", known, err)
	}
}

func TestReplayBeyondTheLog(t *testing.T) {
	w := newWorld(t)
	log := w.start().replayLog
	ctx := context.Background()
	var first int64
	for i := range 400 {
		w.publish(66, fmt.Sprint("p", i))
		if i == 0 {
			frames, _, _, err := log.read(ctx, 66, 0, &inbox.Snapshot{})
			if err != nil {
				t.Fatal(err)
			}
			first = frames[0].Seq
		}
	}
	if _, _, known, err := log.read(ctx, 66, first, &inbox.Snapshot{}); known || err != nil {
		t.Errorf("known %v, %v: the log does not reach back so far", known, err)
	}
}
