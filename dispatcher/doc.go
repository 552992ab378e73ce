// Package dispatcher delivers events to the people whom they concern. It is what
// commands use: it wires the packages below it, runs them, and publishes events.
//
// An event passes through them in this order. Package event reads and validates it and
// decides who is told what. Package content makes the bytes that people are shown.
// [Dispatcher.Publish] stores the event in each receiver's inbox, whose script publishes
// it to live sockets and leaves an entry in the outbox. Package delivery sends the entry
// to the receiver's devices through the senders (fcm, apns) and settles it. Package
// report tells the service what became of the event.
//
// Package chat carries messages between users, and broadcast sends promotions to an
// audience. Package retention drops what is too old and erases users; audit compares
// counters with what they count. Package live, which holds the websockets, is wired by
// commands.
//
// The order in which these packages may import each other is in docs/design.md.
package dispatcher
