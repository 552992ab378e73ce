// Package model holds the types of the inbox that need no Redis: ids, counters and their
// sizes, states, contacts, live frames and quiet hours. It imports no other package of
// Kabar, so that every package may use it.
package model
