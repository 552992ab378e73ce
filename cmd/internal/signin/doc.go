// Package signin verifies credentials that Kabar does not keep: [Upstream] asks the server
// that keeps them, [JWT] checks signed tokens. Package credentials keeps and verifies the
// others.
//
// All return nil for a good credential, credentials.ErrUnauthorized for a bad one, a
// *credentials.LockedOutError after too many failures, and [ErrUnavailable] when they
// cannot tell. Failed attempts of others do not lock out a credential that is known to be
// good, and an attempt that could not be verified does not count as a failure.
package signin
