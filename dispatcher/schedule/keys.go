package schedule

// eventKey is a hash in the partition of the event's key, kept until the event was published
// or removed: its parts, each an Event as JSON.
func (s *Schedule) eventKey(key string) string {
	return s.partitions.Key(s.partitions.Of(key), "scheduled:"+key)
}

// waitingKey is a sorted set of a partition, kept for ever: parts of events, "KEY PART",
// scored with the time in milliseconds at which each is published.
func (s *Schedule) waitingKey(partition int) string {
	return s.partitions.Key(partition, "scheduled")
}

// takenKey is a sorted set of a partition, kept for ever: parts of events that a process
// publishes, scored with the time in milliseconds at which another one takes them.
func (s *Schedule) takenKey(partition int) string {
	return s.partitions.Key(partition, "scheduled:taken")
}
