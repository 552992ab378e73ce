package outbox

import (
	"github.com/kabar-gateway/kabar/dispatcher/push"
	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// group is the name of the one consumer group of each stream.
const group = "workers"

// EntryField is the one field of a stream's entries.
const EntryField = "e"

// keys name the keys of an outbox.
type keys struct {
	partitions *rdb.Partitions
	routes     *routes
}

// routesKey is a set, kept for ever: the names of all routes by which entries have ever
// waited, so that those of a route which is not configured any more are found.
func (k *keys) routesKey() string { return k.partitions.Key(0, "routes") }

// StreamKey is a stream, kept until its entries are settled: the outbox of a partition's
// lane. Entries have one field, e.
func (k *keys) StreamKey(partition int, l push.Lane) string {
	return k.partitions.Key(partition, "out:"+l.String())
}

// DelayedKey is a sorted set, kept until its members are due: entries that wait for
// another attempt, scored with the moment in milliseconds.
func (k *keys) DelayedKey(partition int, l push.Lane) string {
	return k.partitions.Key(partition, "delayed:"+l.String())
}

// WaitingKey is a sorted set, kept until its members are due or the circuit of the route is
// closed: entries that wait for a route, scored with the moment in milliseconds at which they
// are returned even if its circuit is still open.
func (k *keys) WaitingKey(partition int, l push.Lane, route string) string {
	return k.DelayedKey(partition, l) + ":" + route
}

// delayedKeys returns the delayed set of a partition's lane and then its waiting sets, in
// the order of routes.
func (k *keys) delayedKeys(partition int, l push.Lane, routes []string) []string {
	keys := []string{k.DelayedKey(partition, l)}
	for _, route := range routes {
		keys = append(keys, k.WaitingKey(partition, l, route))
	}
	return keys
}

// unsentKey is a sorted set, kept while pushes of a partition's lane are delayed: those
// that were ever delayed and are still to be sent, scored with the moment in milliseconds
// from which their age counts; see Entry.unsent. The sorted set KEY:due has the same members,
// scored with the moment at which each is returned at the latest; KEY:swept is a string,
// see sweep.lua.
func (k *keys) unsentKey(partition int, l push.Lane) string {
	return k.partitions.Key(partition, "unsent:"+l.String())
}

// deadKey is a stream, trimmed to KeepDead by its ids: the dead letters of a partition.
// Entries have the fields e, lane, device, route and reason.
func (k *keys) deadKey(partition int) string {
	return k.partitions.Key(partition, "dead")
}
