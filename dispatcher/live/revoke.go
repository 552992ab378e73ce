package live

// revoke closes the socket if its session was vouched for before a revocation, whether it
// was greeted or not, and reports whether it was.
func (s *socket) revoke(at int64) bool {
	if at <= s.vouched {
		return false
	}
	s.queue.close(codeRevoked, "not signed in any more")
	return true
}
