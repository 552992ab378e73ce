// Package delivery sends the pushes of the outbox to the providers, and judges what their
// answers mean.
//
// Each lane has a worker of its own (lane.go). Its reader takes entries from the outbox and
// prefetches their data in one round trip (prefetch.go); each entry becomes a [task], with
// a job for each device that wants the push (render.go, preferences.go). A queue for each
// provider bounds the attempts under way and checks the owner of each device right before
// each request (queue.go, guarantee G4). The outcome of the last job settles the task
// (outcome.go, settle.go): done, delayed for the devices that are still owed the push, or
// buried with a reason. A keeper renews the leases of the entries that the worker holds, and
// takes over the entries of workers that died.
//
// The rules by which answers are judged are pure functions of evidence and time: what
// becomes of a push (decide.go), when a circuit opens (circuit.go), when lanes slow down
// (slowdown.go, guarantee G10), and when a device is forgotten (verdict.go, guarantee G11).
// An [app] applies them (app.go, probe.go, storm.go); its evidence and its state are shared
// by all gateways through Redis (shared.go).
package delivery
