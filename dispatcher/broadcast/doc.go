// Package broadcast sends a promotion to an audience: to all users, to those whose
// language or devices fit, or to users who are named.
//
// [Broadcasts.Start] stores the broadcast (its definition, the users whom it names, and
// its body once in each partition) and answers. While [Broadcasts.Run] runs, a process
// takes the lease on each broadcast whose time has come and walks over the users of all
// partitions in the order of their ids, no faster than the broadcast's rate and no
// faster than the outbox takes its pushes. One script per user stores the notification
// and moves the partition's cursor, so that progress is exact and another process can go
// on where this one stopped.
//
// A fence in every partition makes sure that only one process goes on: it is raised when
// another one takes the lease, and when the broadcast is paused or ends. The scripts
// check it.
//
// Packages that push the notifications use [Broadcasts.Includes] and
// [Broadcasts.Tally], and compose the settling script with [Fragment].
package broadcast
