// Package delivery sends the pushes of the outbox to the providers.
//
// Each lane has a worker of its own (lane.go). Its reader takes entries from the outbox and
// prefetches their data in one round trip (prefetch.go); each entry becomes a [task], with
// a job for each device that wants the push (render.go, preferences.go). A queue for each
// provider bounds the attempts under way, asks the provider's circuit breaker (breaker.go),
// and reads the owner records just before the attempts (queue.go, guarantee G4). The
// outcome of the last job settles the task (outcome.go, settle.go): done, delayed for the
// devices that are still owed the push, or buried with a reason. A keeper renews the leases
// of the entries that the worker holds, and takes over the entries of workers that died.
package delivery
