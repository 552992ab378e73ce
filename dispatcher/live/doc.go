// Package live is the websocket hub: it holds the sockets of the users who are
// connected to this process, sends them what Redis publishes, and handles their
// requests.
//
// # Parts
//
// The [Hub] accepts sockets, greets them, and closes them when the process ends. It is
// made of parts that do not know it:
//
//	goroutines    starts goroutines and ends them with the hub
//	registry      the users who have sockets here, and their sockets
//	socket        what one client has received and may receive
//	writeQueue    the frames that wait to be written to a socket
//	reader        the frames that a client sends
//	requests      carries out the requests in those frames
//	pubsub        the connections that carry the users' channels
//	pubsubConn    the connection to one Redis node, with its channels
//	session       the time from one connect of a pubsubConn to its failure
//	router        passes published frames to sockets
//	publisher     publishes frames that are not logged
//	frameBuilder  makes frames of published or logged ones
//	replayLog     reads the frames that a socket has missed
//	replayer      sends them to the socket
//	meter         limits the control frames of a client
//	countQueue    counts unreads
//	presence      records who is online, and notifies their watchers
//
// # Goroutines
//
// Each pub/sub connection has three goroutines. The first receives published frames and
// offers them to sockets (session.go, router.go); it never waits for a socket, and ends
// when the connection carries no channel. The second writes the commands that subscribe
// and unsubscribe, and the third tests the connection with heartbeats (heartbeat.go);
// both end with each session. A loop of the hub checks which connection has to carry
// which channel (pubsub.go).
//
// A socket has a goroutine that reads (read.go), and one that writes while frames are
// queued (writequeue.go). When a socket has missed frames, because it has just connected
// or because pub/sub has lost some, another goroutine reads them from the replay log
// (catchup.go). Meanwhile published frames are not queued for that socket. A few loops
// of the hub ping, count, write presence and tidy up for all sockets, so that an idle
// socket costs one goroutine and no timer.
//
// # Lock order
//
// A goroutine that holds one mutex may lock another one only as follows:
//
//	mutex       guards                                while holding it, lock only
//	shard       the users of a shard                  user
//	user        the list of a user's sockets          nothing
//	socket      what its client has and may receive   writeQueue, gate
//	writeQueue  frames to write, why a socket ends    gate
//	pubsub      which connection carries a channel    pubsubConn, gate
//	pubsubConn  requested changes of subscriptions    nothing
//	countQueue  users whose unreads are to be counted nothing
//	presence    updates that are to be written        nothing
//	conn        writes to a connection                nothing
//	gate        a counter of sockets or goroutines    nothing
//
// No mutex is held while waiting for Redis or for the network, with one exception:
// that of a conn is held during each write, so that writes do not mix. Only the reader
// and the writer of that socket lock it, and the write timeout bounds it.
//
// The tests of this package check this while they run; see mutex.go.
package live
