// Package report delivers reports to the webhooks of services: the outcome of their events
// and broadcasts. It queues reports in Redis and delivers each one until the webhook takes
// it or it is a day old. The report of a failed push is queued by the script that settles
// the push.
package report
