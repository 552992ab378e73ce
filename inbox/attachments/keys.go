package attachments

import "github.com/kabar-gateway/kabar/inbox/rdb"

// keys builds the keys of the package in Redis.
type keys struct{ parts *rdb.Partitions }

// counter is a string, kept for ever: the id of the newest file.
func (k keys) counter() string { return k.parts.Key(k.parts.Of("attachments"), "attachments") }

// files is a sorted set, kept until the user is erased: the paths, in the bucket, of the
// files that the user has sent, scored with the time in milliseconds at which each was sent.
func (k keys) files(user int64) string { return k.parts.UserKey(user, "attachments") }

// sizes is a hash, kept like files: the size of each file by its path, and of all files as
// "total", in bytes.
func (k keys) sizes(user int64) string { return k.parts.UserKey(user, "attachments:sizes") }

// both returns the keys of a user's files, in the order of the scripts.
func (k keys) both(user int64) []string { return []string{k.files(user), k.sizes(user)} }
