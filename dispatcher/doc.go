// Package dispatcher is the core of the gateway: it publishes events to the inboxes of
// their receivers and delivers their pushes. It wires the packages below it, and runs them
// for the commands.
//
// An event passes through them in this order. Package event reads and validates it and
// decides which receiver is told what. Package content renders the body.
// [Dispatcher.Publish] stores the event in each receiver's inbox; that script also
// publishes it to live sockets and adds an entry to the outbox. Package delivery sends the
// entry to the receiver's devices through the senders (fcm, apns) and settles it. Package
// report tells the service the outcome.
//
// Package chat carries messages between users, and broadcast sends promotions to an
// audience. Package retention drops old data and erases users; audit compares counters with
// the data that they count. Package live, which holds the websockets, is wired by commands.
//
// The order in which these packages may import each other is in docs/design.md.
package dispatcher
