// Package outbox is the queue of the pushes to be sent: an [Entry] for each receiver's
// push, in a Redis stream for each partition and lane, with one consumer group.
//
// The script that stores a notification adds the entry. Workers read entries
// ([Outbox.Read]) under a lease, renew it ([Outbox.Renew]), take over the entries of
// workers that died ([Claimer.Claim]), and settle entries ([Outbox.Settle]). One script
// settles several, each for itself: it writes the outcome and removes the entry, delays it
// in the delayed set, or moves it to the dead letters. Packages above add their own writes
// to that script as a [Fragment].
//
// All of that works at maxmemory (with noeviction), because it frees memory in the end.
// Redis checks the limit only at the first write of a script. So each script that may need
// memory begins with a no-op that needs none, the removal of an element that does not
// exist. A script removes an entry from its old place last, so that an error does not lose
// the entry.
//
// The methods of an [Outbox] are safe for concurrent use.
package outbox
