// Package outbox is the queue of the pushes to be sent: an [Entry] for each receiver's
// push, in a Redis stream for each partition and lane, with one consumer group.
//
// The script that stores a notification adds the entry. Workers read entries
// ([Outbox.Read]) under a lease, renew it ([Outbox.Renew]), take over the entries of
// workers that died ([Outbox.Claim]), and settle each entry in one script
// ([Outbox.SettleCommand]): it writes the outcome and removes the entry, delays it in
// the delayed set, or moves it to the dead letters. Packages above add their own writes
// to that script as a [Fragment].
//
// All of that works while Redis' memory is full (maxmemory with noeviction), because it
// frees memory in the end. Redis checks the limit at the first write of a script only, so
// each script that may need memory begins with a write that needs none: it removes
// something that does not exist. What a script takes away it takes away last, so that an
// error in between loses no entry.
//
// The methods of an [Outbox] are safe for concurrent use.
package outbox
