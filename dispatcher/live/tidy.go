package live

import (
	"context"
	"time"
)

// tidyLoop forgets users whose sockets left a while ago, and keeps the others
// online, until the hub is over.
func (h *Hub) tidyLoop(ctx context.Context) {
	refreshed := time.Now()
	for pause(ctx, min(h.Linger/4, refreshEvery)) {
		var sightings []sighting
		for i := range h.shards {
			for _, a := range h.shards[i].expired(time.Now().Add(-h.Linger)) {
				h.bus.unsubscribe(a)
				sightings = append(sightings, sighting{audience: a, ago: time.Since(a.left)})
			}
		}
		if time.Since(refreshed) >= refreshEvery {
			refreshed = time.Now()
			for _, a := range h.audiences() {
				if !a.empty() {
					sightings = append(sightings, sighting{audience: a, online: onlineFor})
				}
			}
		}
		if err := h.note(ctx, sightings); err != nil && ctx.Err() == nil {
			h.Log.Warn("presence cannot be noted", "error", err)
		}
	}
}

// leaveSoon lets this process' users count as online for as long as they linger:
// most of them come back to another process at once.
func (h *Hub) leaveSoon(ctx context.Context) {
	var sightings []sighting
	for _, a := range h.audiences() {
		sightings = append(sightings, sighting{audience: a, online: h.Linger})
	}
	if err := h.note(ctx, sightings); err != nil {
		h.Log.Warn("presence cannot be noted", "error", err)
	}
}
