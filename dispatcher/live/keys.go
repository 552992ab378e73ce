package live

// The keys here begin with the user's channel, and so lie in the
// user's slot.

// presenceKeys are:
// online, a sorted set, expiring: the audiences, one a process, that hold
// sockets of the user;
// seen, a string, kept for lastSeenFor: when the user was last online;
// watchers, a sorted set, expiring: who is told when the user comes or goes.
func presenceKeys(channel string) []string {
	return []string{channel + ":online", channel + ":seen", channel + ":watchers"}
}

// revokedKey is a string, kept for revokedFor: when the user's sockets were
// revoked, Unix µs.
func revokedKey(channel string) string { return channel + ":revoked" }
