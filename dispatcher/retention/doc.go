// Package retention drops what is not to be kept: what users have kept for longer than
// the configuration allows, and everything of users who are erased.
//
// One process at a time does so, under a lease; its position among the users is stored,
// so that another process continues from there.
package retention
