// Package retention drops old data and erases users: it drops the notifications, messages
// and subjects of users that are older than the configuration allows, and deletes all data
// of erased users. It also forgets devices that were not seen for a long time.
//
// One process at a time does so, under a lease; its position among the users is stored, so
// that another process continues from there.
package retention
