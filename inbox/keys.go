package inbox

import "strconv"

// userKeys builds the keys of one user. All of them share the partition's tag.
type userKeys string

func (s *Store) keys(user int64) userKeys {
	id := strconv.FormatInt(user, 10)
	return userKeys(s.parts.Key(s.parts.Of(id), "u"+id+":"))
}

// meta is a hash, kept for ever: seq (the last sequence number), cart, cart_at.
func (k userKeys) meta() string { return string(k) + "meta" }

// list is a sorted set, expiring with the youngest notification: members
// "ID TYPE", all with score 0, so that they sort by id and thereby by time.
func (k userKeys) list() string { return string(k) + "list" }

// notes is a hash, expiring like list: id to "RESOURCE\nBODY", where BODY is the
// JSON of the notification and RESOURCE names what it is about, or is empty.
func (k userKeys) notes() string { return string(k) + "notes" }

// unread is a set, expiring like list: the ids of unread notifications.
func (k userKeys) unread() string { return string(k) + "unread" }

// open is a sorted set, kept for ever: resources (and, as MessageUnread,
// messages) that enter a counter, scored with their Class.
func (k userKeys) open() string { return string(k) + "open" }

// states is a hash, kept for ever: resource to "ORDER RANK ID", the newest state
// that was accepted and the notification that told it.
func (k userKeys) states() string { return string(k) + "states" }

// log is a stream, expiring after replayFor: the newest frames, by sequence number.
func (k userKeys) log() string { return string(k) + "log" }

// profile is a hash, kept for ever: name, username, avatar, locale, timezone, admin.
func (k userKeys) profile() string { return string(k) + "profile" }

// record is a hash, expiring after the dedupe window: what became of one event.
func (k userKeys) record(event string) string { return string(k) + "e:" + event }

// tag is a string, expiring with the push: the id of the newest notification
// that shows under this tag.
func (k userKeys) tag(tag string) string { return string(k) + "tag:" + tag }

// channel is the pub/sub channel of the user's live frames.
func (k userKeys) channel() string { return string(k) + "live" }

// receivers is a set, expiring like record: the receivers of an event.
func (s *Store) receivers(event string) string {
	return s.parts.Key(s.parts.Of(event), "ev:"+event)
}
