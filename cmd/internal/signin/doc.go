// Package signin verifies credentials that Kabar does not keep: [Upstream] asks
// the server that does, [JWT] checks signed tokens. (Those that Kabar keeps are
// devices' business.)
//
// All say yes with nil, no with credentials.ErrUnauthorized, "too many failures" with
// a *credentials.LockedOutError, and [ErrUnavailable] when they cannot tell. A
// credential that is known to be good is never locked out by failures of others,
// and being unable to tell never counts as a failure.
package signin
