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

// WaitingKey is a sorted set, kept until its members are due or the circuit of the app is
// closed: entries that wait for an app, scored with the moment in milliseconds at which they
// are returned even if its circuit is still open. app is one of Options.Apps.
func (o *Outbox) WaitingKey(partition int, l push.Lane, app string) string {
	return o.DelayedKey(partition, l) + ":" + app
}

// delayedKeys returns the delayed set of a partition's lane and then its waiting sets, in
// the order of Options.Apps.
func (o *Outbox) delayedKeys(partition int, l push.Lane) []string {
	keys := []string{o.DelayedKey(partition, l)}
	for _, app := range o.apps {
		keys = append(keys, o.WaitingKey(partition, l, app))
	}
	return keys
}

// deadKey is a stream, trimmed to KeepDead by its ids: the dead letters of a partition.
// Entries have the fields e, lane, device and reason.
func (o *Outbox) deadKey(partition int) string {
	return o.partitions.Key(partition, "dead")
}
