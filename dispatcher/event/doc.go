// Package event parses and validates the events of services, and decides by a table of
// rules which receiver is told what. It is pure: it uses neither Redis nor providers.
//
// A [Parser] reads an event, or a raw resource in the marketplace's own form that stands in
// place of one (raw.go), and collects every problem by field ([Validator]). types.go holds
// the properties of the event types, rules.go what each state of a transaction, offer,
// wallet movement or report means for its seller, buyer or owner; docs/rules.md shows that
// table. The result is one [RoleContent] for each role that receivers have.
package event
