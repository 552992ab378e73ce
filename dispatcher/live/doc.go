// Package live is the websocket hub: it holds the sockets of the users who are
// connected to this process, brings them what Redis publishes, and carries out
// what they ask for.
//
// What may run concurrently. One goroutine a Redis connection (bus.go) receives
// what is published and offers it to sockets; it never waits for one. A socket has
// one goroutine that reads (read.go), and one that writes only while something
// waits to be written (write.go). Whatever a socket has missed, when it came, when
// pub/sub lost something or was renewed, a goroutine of its own reads from the
// replay log (catchup.go), and frames offered meanwhile are left to it. Tickers of
// the hub ping sockets, tidy up and count unreads for all of them, so that an idle
// socket costs a goroutine that reads, and no timer.
//
// Locks are taken in this order and never held while waiting for Redis or for a
// client: a shard's, an audience's, a socket's.
package live
