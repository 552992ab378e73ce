package outbox

import "github.com/kabar-gateway/kabar/dispatcher/push"

// group is the name of the one consumer group of each stream.
const group = "workers"

// EntryField is the one field of a stream's entries.
const EntryField = "e"

// StreamKey is a stream, kept until its entries are settled: the outbox of a partition's
// lane. Entries have one field, e.
func (o *Outbox) StreamKey(partition int, l push.Lane) string {
	return o.partitions.Key(partition, "out:"+l.String())
}

// DelayedKey is a sorted set, kept until its members are due: entries that wait for
// another attempt, scored with the moment in milliseconds.
func (o *Outbox) DelayedKey(partition int, l push.Lane) string {
	return o.partitions.Key(partition, "delayed:"+l.String())
}

// deadKey is a stream, trimmed to KeepDead by its ids: the dead letters of a partition.
// Entries have the fields e, lane, device and reason.
func (o *Outbox) deadKey(partition int) string {
	return o.partitions.Key(partition, "dead")
}
