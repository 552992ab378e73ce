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
// # Lock order
//
// A goroutine that holds one mutex may lock another one only as follows:
//
//	mutex     guards                                  while holding it, lock only
//	shard     the audiences of a shard                audience
//	audience  the sockets of a user                   nothing
//	socket    the state and the queue of a socket     gate
//	bus       the pub/sub connections                 gate
//	line      what is to be subscribed on one         nothing
//	counting  whose unreads are to be counted         nothing
//	conn      a write to the network                  nothing
//	gate      how many are inside of it               nothing
//
// No mutex is held while waiting for Redis or for the network, with one exception:
// conn's serializes the writes of one connection, so that it is held during each of
// them. Only the reader and the writer of that one socket lock it, and the write
// timeout bounds it.
//
// The tests of this package check all of this while they run; see mutex.go.
package live
