package inbox

// userKeys builds the keys of one user. All of them share the partition's tag.
type userKeys string

func (s *Store) keys(user int64) userKeys { return userKeys(s.parts.UserKey(user, "")) }

// meta is a hash, kept for ever: seq (the last sequence number), day (when expiries
// were renewed), kept (the number of notes, or more when they expired), cart,
// cart_at, seen, and for each subject, such as "transaction:52001", "r:SUBJECT" to
// "ORDER RANK TOLD NEWEST": the newest state that was accepted, the id of the
// notification that told it ("-" before there is a state), and that of the newest
// one about it, those left out that told a state too late. Subjects that are in no
// counter are forgotten when nothing has come about them for forgetAfter.
//
// Of an erased user it is the tombstone, expiring after tombstoneFor: the field
// erased alone; see erasure.lua.
func (k userKeys) meta() string { return string(k) + "meta" }

// notes is a stream, expiring when it has not grown for the time that notifications
// are kept: notifications by sequence number, with the fields i (id), p (the
// sequence number before), t (type), r (subject) and b (body).
func (k userKeys) notes() string { return string(k) + "notes" }

// unread is a sorted set, expiring like notes: the ids of unread notifications,
// scored with their sequence numbers.
func (k userKeys) unread() string { return string(k) + "unread" }

// open is a sorted set, kept for ever: subjects (and, as MessageUnread, messages)
// that enter a counter, scored with their Class.
func (k userKeys) open() string { return string(k) + "open" }

// log is a stream, expiring after replayFor: the newest frames that are not in
// notes, by sequence number, with the fields i, p, k (kind) and b.
func (k userKeys) log() string { return string(k) + "log" }

// profile is a hash, kept for ever: name, username, avatar, locale, timezone, admin; quiet,
// quiet_zone (see QuietHours).
func (k userKeys) profile() string { return string(k) + "profile" }

// record is a string, expiring after the dedupe window: what became of one event.
// "CONTENT ID SEQ LISTENING PUSH" on the first line, then one line per outcome.
func (k userKeys) record(event string) string { return string(k) + "e:" + event }

// records is a sorted set: the events that have a record, scored with when that
// expires, in milliseconds, and trimmed by the sweep. It is how erasing finds them.
func (k userKeys) records() string { return string(k) + "records" }

// channel is the pub/sub channel of the user's live frames.
func (k userKeys) channel() string { return string(k) + "live" }

// LiveKeys are the keys of a user that live sockets are served from. They lie in the
// user's slot.
type LiveKeys struct {
	// Online is a sorted set, expiring: the audiences, one a process, that hold
	// sockets of the user.
	Online string
	// Seen is a string, kept for as long as dispatcher/live says: when the user was
	// last online.
	Seen string
	// Watchers is a sorted set, expiring: who is told when the user comes or goes.
	Watchers string
	// Revoked is a string, kept for a day: when the user's sockets were revoked,
	// Unix µs.
	Revoked string
	// Tombstone is a hash that has the field erased when the user was erased.
	Tombstone string
}

// LiveKeys returns a user's.
func (s *Store) LiveKeys(user int64) LiveKeys {
	k := s.keys(user)
	channel := k.channel()
	return LiveKeys{channel + ":online", channel + ":seen", channel + ":watchers", channel + ":revoked", k.meta()}
}

// receivers is a string, expiring like record: the receivers of an event.
func (s *Store) receivers(event string) string {
	return s.parts.Key(s.parts.Of(event), "ev:"+event)
}

// text is a hash in each partition, expiring as StoreText was told: body and audience of
// a broadcast, to which the partition's users, outbox entries and dead letters refer.
func (s *Store) text(partition int, key string) string {
	return s.parts.Key(partition, "cast:"+key)
}
