package report

// streamKey is a stream, kept for keepFor after the newest one: what a service is to be
// told of its events. Entries have the fields i (id) and b (body).
func (r *Reports) streamKey(partition int, service string) string {
	return r.partitions.Key(partition, "reports:"+service)
}

// dueKey is a sorted set, kept as long: the ids of the entries of streamKey, scored with
// the moment of their next attempt in milliseconds.
func (r *Reports) dueKey(partition int, service string) string {
	return r.partitions.Key(partition, "reports-due:"+service)
}

// markKey is a string, kept for keepFor: says that a report with the id was queued, which
// is not to be repeated.
func (r *Reports) markKey(partition int, service, id string) string {
	return r.partitions.Key(partition, "reports-mark:"+service+":"+id)
}
