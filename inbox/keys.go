package inbox

// userKeys builds the keys of one user. All of them share the partition's tag.
type userKeys string

func (b *base) keys(user int64) userKeys { return userKeys(b.parts.UserKey(user, "")) }

// meta is a hash, kept for ever: seq (the last sequence number), day (when expiries
// were renewed), kept (the number of notes, or more when they expired), cart,
// cart_at, seen, and for each subject, such as "transaction:52001", "r:SUBJECT" to
// "ORDER RANK TOLD NEWEST": the newest state that was accepted, the id of the
// notification that told it ("-" before there is a state), and that of the newest
// one about it, those left out that told a state too late. Subjects that are in no
// counter are forgotten when nothing has come about them for forgetAfter.
//
// Of an erased user it is the tombstone, expiring after tombstoneTTL: the field
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

// log is a stream, expiring after replayLogTTL: the newest frames that are not in
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

// receivers is a string, expiring like record: the receivers of an event.
func (b *base) receivers(event string) string {
	return b.parts.Key(b.parts.Of(event), "ev:"+event)
}

// The keys of a broadcast. They expire when its time is over and no notification or
// dead letter can refer to it any more; see Store.broadcastLife.

// broadcast is a hash in the partition of its key: content (digest of what was
// sent), definition, state, fence (raised by every new walker and whenever nobody
// may walk), holder and until (the walker's lease), pace, started, finished, total.
func (b *base) broadcast(key string) string {
	return b.parts.Key(b.parts.Of(key), "broadcast:"+key)
}

// text is a hash in each partition: body and audience, to which the partition's
// users, outbox entries and dead letters refer.
func (b *base) text(partition int, key string) string {
	return b.parts.Key(partition, "cast:"+key)
}

// walk is a hash in each partition: fence (walkers with a lower one are kept out),
// cursor (member of the last user reached), sent, skipped, and what came of pushes:
// accepted, and failed:REASON.
func (b *base) walk(partition int, key string) string {
	return b.parts.Key(partition, "cast:"+key+":walk")
}

// named is a sorted set in each partition, until the broadcast is over: the users
// whom it names, as members of Partitions.Users.
func (b *base) named(partition int, key string) string {
	return b.parts.Key(partition, "cast:"+key+":users")
}

// broadcasts is a sorted set, kept for ever: the keys of the newest broadcasts, scored
// with their making in milliseconds.
func (b *base) broadcasts() string { return b.parts.Key(0, "broadcasts") }

// openBroadcasts is a set, kept for ever: the keys of broadcasts that are not over.
func (b *base) openBroadcasts() string { return b.parts.Key(0, "broadcasts:open") }
