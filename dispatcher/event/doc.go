// Package event reads and validates what services publish, and decides by a table of
// rules who is told what. It is pure: it knows neither Redis nor providers.
//
// A [Parser] reads an event, or a raw resource in the marketplace's own form that stands
// in place of one (raw.go), and collects every problem by field ([Validator]). Types.go
// holds what is true of all events of a type, rules.go what each state of a transaction,
// offer, wallet movement or report means for its seller, buyer or owner; docs/rules.md
// shows that table. The result is one [RoleContent] for each role that receivers have.
package event
