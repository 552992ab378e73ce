// Package inbox is the store of users' data in Redis: notifications, unread counters,
// conversations, profiles, contacts, the replay log of live sockets, and the records of
// events. A [Store] has one part for each concern, and parts that erase, audit and sweep.
//
// All keys of one user lie in one Redis slot, that of the user's partition, and change in
// one Lua script (guarantee G7). keys.go lists the keys. The scripts are in .lua files;
// each begins with its KEYS, ARGV and reply, and common.lua is put before each of them.
//
// What lies where:
//
//   - store.go: Store, its options, and what its parts share
//   - store_notification.go and wrap.go: store events; notifications.go: list and read
//     them; texts.go: the texts that the notifications of a broadcast share; scheduled.go
//     and retract.go: events that are published later, or taken back
//   - records.go: the outcome of each event; located.go: from a notification to its record
//   - push_facts.go: what sending a push depends on; shade.go: what devices show
//   - outbound.go: send messages; handoffs.go: changes that a partner's copy still lacks;
//     conversations.go, receipts.go, search.go, delete.go: a user's own copies
//   - package inbox/model: types that need no Redis
//   - package inbox/rdb: pipelines, scripts and partitions, which other packages use too
package inbox
