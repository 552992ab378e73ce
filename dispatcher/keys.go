package dispatcher

import (
	"github.com/kabar-gateway/kabar/dispatcher/push"
)

// outKey is a stream, kept until its entries are settled: the outbox of a
// partition's lane. Entries have one field, e.
func (d *Dispatcher) outKey(partition int, l push.Lane) string {
	return d.Partitions.Key(partition, "out:"+l.String())
}

// delayedKey is a sorted set, kept until its members are due: entries that wait
// for another attempt, scored with the moment in milliseconds.
func (d *Dispatcher) delayedKey(partition int, l push.Lane) string {
	return d.Partitions.Key(partition, "delayed:"+l.String())
}

// deadKey is a stream, trimmed to deadFor by its ids: the dead letters of a
// partition. Entries have the fields e, lane, device and reason.
func (d *Dispatcher) deadKey(partition int) string {
	return d.Partitions.Key(partition, "dead")
}

// reportsKey is a stream, kept for reportKeep after the newest one: what a service is
// to be told of its events. Entries have the fields i (id) and b (body).
func (d *Dispatcher) reportsKey(partition int, service string) string {
	return d.Partitions.Key(partition, "reports:"+service)
}

// reportsDueKey is a sorted set, kept as long: the ids of the entries of reportsKey,
// scored with the moment of their next attempt in milliseconds.
func (d *Dispatcher) reportsDueKey(partition int, service string) string {
	return d.Partitions.Key(partition, "reports-due:"+service)
}

// reportMarkKey is a string, kept for reportKeep: says that a report with the id was
// queued, which is not to be repeated.
func (d *Dispatcher) reportMarkKey(partition int, service, id string) string {
	return d.Partitions.Key(partition, "reports-mark:"+service+":"+id)
}

// group is the name of the one consumer group of each outbox stream.
const group = "workers"
