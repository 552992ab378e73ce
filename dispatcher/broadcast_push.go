package dispatcher

import (
	"context"

	"github.com/kabar-gateway/kabar/inbox"
)

// broadcast returns the key of the broadcast that the entry is of, if it is of one.
func (w *work) broadcast() (key string, ok bool) {
	if w.entry == nil {
		return "", false
	}
	return inbox.ParseReference(w.entry.body)
}

// body returns the notification that the entry holds or refers to.
func (w *work) body() []byte {
	if _, ok := w.broadcast(); ok {
		return w.text.Body
	}
	return []byte(w.entry.body)
}

// count counts what came of a push of a broadcast.
func (w *work) count(field string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally(field)
}

// tally is count for those who hold w.mu.
func (w *work) tally(field string) {
	if _, ok := w.broadcast(); ok {
		w.tallies = append(w.tallies, field, 1)
	}
}

// fillTexts looks up what entries of broadcasts refer to: at the first one of each
// broadcast, after that this process knows it. One that is forgotten stays without.
func (d *Dispatcher) fillTexts(ctx context.Context, works []*work) error {
	for _, w := range works {
		key, ok := w.broadcast()
		if !ok {
			continue
		}
		texts, err := d.Inbox.Texts.Get(ctx, w.entry.User, key)
		if err != nil {
			return err
		}
		w.text = texts[key]
	}
	return nil
}
