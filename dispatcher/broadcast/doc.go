// Package broadcast sends a promotion to an audience: to all users, to users selected by
// language or device, or to a list of users.
//
// [Broadcasts.Start] stores the broadcast (its definition, its list of users, and its body
// once in each partition) and returns. While [Broadcasts.Run] runs, a process takes the
// lease on each broadcast whose time has come and walks over the users of all partitions in
// the order of their ids, no faster than the broadcast's rate and no faster than the outbox
// takes its pushes. One script per user stores the notification and moves the partition's
// cursor, so that progress is exact and another process can continue where this one
// stopped.
//
// A fence in every partition makes sure that only one process continues: it is raised when
// another process takes the lease, and when the broadcast is paused or ends. The scripts
// check it.
//
// Packages that push the notifications use [Broadcasts.ParseAudience] and
// [Broadcasts.Tally], and compose the settling script with [Fragment].
package broadcast
