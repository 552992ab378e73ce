package broadcast

// The keys of a broadcast expire when no notification and no dead letter can refer to it
// any more; see store.keptUntil. The parameter key is what keyOf returns.

// broadcastKey is a hash in the partition of its key: content (digest of what was sent),
// definition, state, fence (raised with every lease and whenever the broadcast is not
// active), holder and until (the lease), pace, started, finished, total.
func (s *store) broadcastKey(key string) string {
	return s.partitions.Key(s.partitions.Of(key), "broadcast:"+key)
}

// walkKey is a hash in each partition: fence (broadcasters with a lower one are refused),
// cursor (member of the last user reached), sent, skipped, and the outcomes of pushes:
// accepted, failed:REASON, and receipts:EVENT.
func (s *store) walkKey(partition int, key string) string {
	return s.partitions.Key(partition, "cast:"+key+":walk")
}

// namedKey is a sorted set in each partition, kept until the broadcast has ended: the
// users whom it names, as members of Partitions.Users.
func (s *store) namedKey(partition int, key string) string {
	return s.partitions.Key(partition, "cast:"+key+":users")
}

// newestKey is a sorted set, kept for ever: the keys of the newest broadcasts, scored
// with when they were accepted in milliseconds.
func (s *store) newestKey() string { return s.partitions.Key(0, "broadcasts") }

// openKey is a set, kept for ever: the keys of broadcasts that have not ended.
func (s *store) openKey() string { return s.partitions.Key(0, "broadcasts:open") }
