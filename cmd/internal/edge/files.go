package edge

// reserve returns how many of the open files that a process may have are kept from the
// connections to the public address: for Redis (10 for each core and master), the providers
// (about 30), attachments, webhooks, and the operator's address with its probes.
func reserve(files uint64) uint64 { return min(max(files/4, 128), 4096) }

// FileLimit returns [Limits.Files] for this process: what its limit on open files leaves
// after the reserve, at least 1. It is 0 where the limit is not known.
func FileLimit() int {
	files, ok := openFiles()
	if !ok {
		return 0
	}
	kept := reserve(files)
	return int(max(min(files, 1<<30), kept+1) - kept)
}
