// Package chat sends messages and read receipts from one user to another.
//
// Each of the two users has a copy of their conversation in their own partition of Redis.
// No script spans two partitions, so a message is stored in two steps: in the first copy,
// that of the user with the lower id, which decides the order and leaves a hand-off, and
// then in the second copy, which removes the hand-off. When the process dies between the
// two, [Chat.Run] in any process carries the hand-off out. Read receipts go from the
// reader's partition to the sender's in the same way.
//
// The script that stores the receiver's copy adds the push to the outbox.
package chat
