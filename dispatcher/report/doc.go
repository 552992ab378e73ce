// Package report tells services what became of their events. It queues reports in Redis
// and delivers each one to its service's webhook until the webhook takes it or it is a day
// old. The report of a failed push is queued by the script that settles the push.
package report
