// Package report tells services what became of their events: it queues reports in Redis,
// within the script that settles a push where that is the cause, and delivers them to
// the service's webhook until it takes them or they are a day old.
package report
