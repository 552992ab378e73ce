// Package inbox keeps what Kabar knows of each user in Redis: notifications,
// conversations, unread counters, the replay log of live frames, profiles,
// contacts, and a record of what became of each event.
//
// Everything of one user lies in one Redis slot, that of the user's partition,
// and changes in one Lua script (guarantee G7). The scripts are in .lua files;
// common.lua stands before each of them. A [Batcher] carries them to Redis, those
// of concurrent callers together in one pipeline.
package inbox
