// Package dispatcher carries events to the people that they concern.
//
// Publishing validates events (event.go), derives from the rules (rules.go) who is
// told what, and hands each receiver's share to the inbox, whose script stores it
// and leaves an entry in the outbox (publish.go). From there a worker per lane
// carries it to the providers: it reads entries (worker.go, outbox.go), looks up
// the receiver's devices and numbers (gather.go), sends to each device as its
// owner allows (queue.go, gate.go), and settles the entry with what came of it:
// done, to be tried again, or dead (settle.go, dead.go).
//
// Messages between users go from one copy of the conversation to the other, with
// a hand-off in between (chat.go). What live sockets show is made in frames.go.
//
// Services are told what became of their events by reports (report.go), which wait in
// Redis until they are delivered (reporter.go).
//
// Senders for the providers are in the packages fcm and apns, the websockets in
// live, the webhooks that reports go to in webhook.
package dispatcher
