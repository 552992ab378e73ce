package inbox

// This file is the only one that names Redis keys. Each function says the key's type,
// its lifetime and what it holds.

// userKeys builds the keys of one user. All of them have the tag of the user's
// partition.
type userKeys string

func (b *base) keys(user int64) userKeys { return userKeys(b.parts.UserKey(user, "")) }

// What the keys end with that scripts build from another key of the user.
const (
	metaKey           = "meta"
	notificationsKey  = "notes"
	keptBodiesKey     = "notes:kept"
	unreadKey         = "unread"
	countedKey        = "open"
	replayLogKey      = "log"
	channelKey        = "live"
	recordKey         = "e:"
	recordIndexKey    = "records"
	contactsKey       = "contacts"
	recentContactsKey = "contacts:recent"
	shadeKey          = "shade"
)

// Notifications and counters

// meta is a hash, kept for ever, with the fields
//
//	seq           the last sequence number
//	accepted      when the last event that took none was accepted
//	day           when expiries were last renewed, in days
//	kept          the number of notifications, or more when some have expired
//	inline        from which sequence number on outbox entries hold their bodies, while
//	              the list overflows; see keptBodies
//	cart, cart_at the items in the cart, and the order of the event that said so
//	seen          the sequence number up to which the user has seen everything
//	r:SUBJECT     of each subject, such as r:transaction:52001: "ORDER RANK TOLD NEWEST"
//
// ORDER and RANK are those of the newest state that was accepted, TOLD is the id of the
// notification that told it ("-" before there is a state), NEWEST that of the newest
// notification about the subject that was pushed. A subject that is in no counter is
// forgotten when no event about it has arrived for subjectTTL.
//
// After the user is erased, the hash is the tombstone: it has the field erased alone, and
// expires after tombstoneTTL; see erasure_step.lua.
func (k userKeys) meta() string { return string(k) + metaKey }

// notifications is a stream that expires when it has not grown for Options.Keep: the
// user's list by sequence number, with the fields i (id), p (the sequence number
// before), t (type), r (subject) and b (body).
func (k userKeys) notifications() string { return string(k) + notificationsKey }

// keptBodies is a hash that expires after Options.RetryFor: the bodies of notifications that
// the list had no room for while pushes may have referred to them, by sequence number. It has
// about as many as a full list, since entries hold their bodies while the list overflows.
func (k userKeys) keptBodies() string { return string(k) + keptBodiesKey }

// unread is a sorted set that expires like notifications: the ids of unread
// notifications, scored with their sequence numbers.
func (k userKeys) unread() string { return string(k) + unreadKey }

// counted is a sorted set, kept for ever: the subjects and the unread messages that are
// in a counter, scored with the model.Counter.
func (k userKeys) counted() string { return string(k) + countedKey }

// Live sockets

// replayLog is a stream that expires after replayLogTTL: the newest frames that are not
// in notifications, by sequence number, with the fields i (id), p (the sequence number
// before), k (kind) and b (body).
func (k userKeys) replayLog() string { return string(k) + replayLogKey }

// channel is the pub/sub channel of the user's live frames.
func (k userKeys) channel() string { return string(k) + channelKey }

// LiveKeys are the keys of a user that live sockets use. They lie in the user's slot.
type LiveKeys struct {
	// Online is a sorted set that expires: the processes that hold sockets of the user.
	Online string
	// Seen is a string, kept for as long as dispatcher/live says: when the user was
	// last online.
	Seen string
	// Watchers is a sorted set that expires: the users who are told when the user comes
	// online or goes offline.
	Watchers string
	// Revoked is a string that expires after rdb.RevokedTTL: when what the user's
	// credentials have vouched for was last revoked, in microseconds.
	Revoked string
	// Typing, with a user's id appended, is a string that expires within seconds: this
	// user was just told that the other one is typing.
	Typing string
	// Tombstone is a hash that has the field erased while the user is erased.
	Tombstone string
}

func (k userKeys) live() LiveKeys {
	channel := k.channel()
	return LiveKeys{
		Online: channel + ":online", Seen: channel + ":seen", Watchers: channel + ":watchers",
		Revoked: channel + ":revoked", Typing: channel + ":typing:", Tombstone: k.meta(),
	}
}

// Records of events

// record is a string that expires after recordTTL: the outcome of one event. The first line
// is "CONTENT ID SEQ LISTENING PUSH", and after a space NewNotification.Origin if there is
// one; then there is one line for each outcome and each receipt. Until a scheduled event is
// published, the first line is "CONTENT - CALL 0 scheduled AT".
func (k userKeys) record(event string) string { return string(k) + recordKey + event }

// recordIndex is a sorted set, kept for ever and trimmed by the sweep: the events that
// have a record, scored with the time at which that expires, in milliseconds. Erasing
// finds the records by it.
func (k userKeys) recordIndex() string { return string(k) + recordIndexKey }

// receivers is a string that expires like a record: the receivers of an event in this
// partition.
func (b *base) receivers(partition int, event string) string {
	return b.parts.Key(partition, "ev:"+event)
}

// Screens

// shade is a hash that expires 28 to 29 days after the last push: what the user's devices
// show. The field "DEVICE TAG" is the id of the newest notification that a push has put there,
// with "-" before it once the device was told that it is read. The field "DEVICE" of an iPhone
// is "BADGE LOOKED END KIND FIRST SECOND": the newest badge, or "?" when nobody knows it; when
// the newest push with a badge was looked up, and when one was last settled, in microseconds;
// "d" if any was a dismissal; when the last two background pushes were accepted, in
// milliseconds. The field "owed" exists while some iPhone is to be told with the next push
// that is shown; "day" is when the expiry was last renewed, in days.
func (k userKeys) shade() string { return string(k) + shadeKey }

// Profiles and contacts

// profile is a hash, kept for ever: known, name, username, avatar, locale, timezone,
// admin, quiet (model.QuietHours) and quiet_zone.
func (k userKeys) profile() string { return string(k) + "profile" }

// contacts is a hash, kept for ever: "ROLE:PARTNER:TRANSACTION", ROLE being the
// partner's, to storedContact as JSON.
func (k userKeys) contacts() string { return string(k) + contactsKey }

// recentContacts is a sorted set, kept for ever: the fields of contacts, scored with
// the order of the transaction's newest state.
func (k userKeys) recentContacts() string { return string(k) + recentContactsKey }

// A user's copies of conversations

// conversations is a sorted set, kept for ever: conversation ids, scored with a number
// that sorts as the id of the newest message does.
func (k userKeys) conversations() string { return string(k) + "inboxes" }

// unreadConversations is a sorted set, kept for ever: the members of conversations that
// have unread messages.
func (k userKeys) unreadConversations() string { return string(k) + "inboxes:unread" }

// conversation is a hash, kept until the conversation is deleted, with the field
// partner.
func (k userKeys) conversation(id string) string { return string(k) + "c:" + id }

// messages is a sorted set, kept until the conversation is deleted: the ids of its
// messages, all with score 0, so that they sort by id.
func (k userKeys) messages(conversation string) string {
	return k.conversation(conversation) + ":messages"
}

// receivedUnread is a sorted set like messages: the messages that the user has received and
// not read.
func (k userKeys) receivedUnread(conversation string) string {
	return k.conversation(conversation) + ":unread"
}

// sentUnread is a sorted set like messages: the messages that the user has sent and the
// partner has not read.
func (k userKeys) sentUnread(conversation string) string {
	return k.conversation(conversation) + ":unseen"
}

// minGeneration is a string that expires after minGenerationTTL: the generation of an
// erased partner. The conversation drops late messages of earlier generations.
func (k userKeys) minGeneration(conversation string) string {
	return k.conversation(conversation) + ":generation"
}

// bodies is a hash, kept for ever: message id to storedMessage as JSON, and for a message
// that its receiver has read "r" and the id to when that was, in seconds.
func (k userKeys) bodies() string { return string(k) + "messages" }

// words is a sorted set, kept for ever, all scores 0: a posting, "WORD\x00ID
// CONVERSATION" without the space, of every word of every message, so that a search is
// a range.
func (k userKeys) words() string { return string(k) + "words" }

// trash is a set, kept for ever: the keys to which the messages of deleted conversations
// were renamed, until their bodies are purged.
func (k userKeys) trash() string { return string(k) + "trash" }

// Sending messages

// heads is a hash, kept for ever: conversation id to the id of the newest message that this
// copy ever stored, even if it was deleted since.
func (k userKeys) heads() string { return string(k) + "heads" }

// pending is a sorted set of the first copy, all scores 0: the messages that the second
// copy still lacks, "ID HANDOFF" without the space.
func (k userKeys) pending(conversation string) string {
	return k.conversation(conversation) + ":pending"
}

// partners is a set, kept for ever: the receivers of the user's messages. Erasing uses it
// to find their copies.
func (k userKeys) partners() string { return string(k) + "partners" }

// handoffs is a sorted set of a partition, kept for ever: hand-offs, scored with the
// time in milliseconds at which another process takes them over from the request that
// left them.
func (b *base) handoffs(partition int) string { return b.parts.Key(partition, "handoffs") }

// Erasing

// erasures is a sorted set of a partition, kept for ever: users who are being erased,
// scored with the time in milliseconds at which another process takes that over.
func (b *base) erasures(partition int) string { return b.parts.Key(partition, "erasures") }

// Texts of broadcasts

// text is a hash in each partition, with the expiry that Texts.Store sets: body and
// audience of a broadcast, to which the partition's users, outbox entries and dead letters
// refer.
func (b *base) text(partition int, key string) string {
	return b.parts.Key(partition, "cast:"+key)
}
