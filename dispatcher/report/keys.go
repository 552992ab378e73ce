package report

// streamKey is a stream, kept for keepFor after its newest entry: the reports that wait
// for a service. Entries have the fields i (id) and b (body).
func (r *Reports) streamKey(partition int, service string) string {
	return r.partitions.Key(partition, "reports:"+service)
}

// dueKey is a sorted set, kept as long as streamKey: the ids of that stream's entries,
// scored with the time of their next attempt in milliseconds.
func (r *Reports) dueKey(partition int, service string) string {
	return r.partitions.Key(partition, "reports-due:"+service)
}

// markKey is a string, kept for keepFor: it exists when the report with the id was queued,
// so that the report is not queued again.
func (r *Reports) markKey(partition int, service, id string) string {
	return r.partitions.Key(partition, "reports-mark:"+service+":"+id)
}
