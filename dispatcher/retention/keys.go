package retention

// leaseKey is a hash, kept for ever: which process is the janitor (holder, until, in
// milliseconds), and how far it has come (at, a position).
func (j *Janitor) leaseKey() string { return j.partitions.Key(0, "care") }
