// Package dispatcher delivers events to the people whom they concern. It is what
// commands use: it wires the packages below it, runs them, and publishes events.
//
// An event goes through them in this order. Package event reads and validates it and
// decides who is told what; content makes the bytes that people are shown; Publish stores
// it in each receiver's inbox, whose script leaves an entry in the outbox; delivery sends
// the entry to the receiver's devices through fcm and apns, and settles it. Package live
// shows it on websockets, report tells its service what became of it. Messages between
// users are chat's, promotions to an audience broadcast's. Package retention drops and
// erases what is kept of users, audit compares counters with what they count.
//
// docs/design.md shows which package may import which; a test holds the code to it.
package dispatcher
