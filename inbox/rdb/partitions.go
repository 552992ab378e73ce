package rdb

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// Partitions spreads users over hash slots. All keys of one user, and the outbox streams
// of the user's partition, have the partition's hash tag, so that one script can change
// them together. It is immutable and safe for concurrent use.
type Partitions struct {
	prefix string
	tags   []string
}

// NewPartitions returns n partitions (1 to 1024) whose keys begin with prefix.
// Tags are chosen so that the partitions are spread evenly over the slots of a cluster.
func NewPartitions(prefix string, n int) *Partitions {
	p := &Partitions{prefix: prefix, tags: make([]string, n)}
	for i := range p.tags {
		p.tags[i] = evenTag(i, n)
	}
	return p
}

// evenTag returns the first tag for partition i whose slot is in the i-th of n equal
// ranges of slots.
func evenTag(i, n int) string {
	for try := 0; ; try++ {
		tag := "p" + strconv.Itoa(i)
		if try > 0 {
			tag += "." + strconv.Itoa(try)
		}
		if int(crc16(tag))%slots*n/slots == i {
			return "{" + tag + "}"
		}
	}
}

// crc16 is the checksum that Redis Cluster derives slots from (CRC-16/XMODEM).
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// Len returns the number of partitions.
func (p *Partitions) Len() int { return len(p.tags) }

// Of returns the partition of a name, such as a user's decimal id.
func (p *Partitions) Of(key string) int {
	return int(crc32.ChecksumIEEE([]byte(key)) % uint32(len(p.tags)))
}

// OfUser returns the partition of a user.
func (p *Partitions) OfUser(user int64) int {
	var buf [20]byte
	return int(crc32.ChecksumIEEE(strconv.AppendInt(buf[:0], user, 10)) % uint32(len(p.tags)))
}

// Tag returns the hash tag, with braces, of the partition of a name.
func (p *Partitions) Tag(key string) string { return p.tags[p.Of(key)] }

// Key returns a key of partition i: "prefix:{tag}:name".
func (p *Partitions) Key(i int, name string) string {
	return p.prefix + ":" + p.tags[i] + ":" + name
}

// Users returns the key of partition i's users: a sorted set, kept for ever, all scores 0,
// with the UserMember of every user who has data in this partition.
func (p *Partitions) Users(i int) string { return p.Key(i, UsersName) }

// UsersName is what the keys of Users end with.
const UsersName = "users"

// Listing returns the key of the users of a user's partition, and the user's member. The
// script that first stores data of a user adds the member.
func (p *Partitions) Listing(user int64) (key, member string) {
	return p.Users(p.OfUser(user)), UserMember(user)
}

// Tombstone returns the key of a hash that has the field "erased" while a user is
// erased.
func (p *Partitions) Tombstone(user int64) string { return p.UserKey(user, "meta") }

// RevokedTTL is how long a revocation is kept: longer than a ticket is good, and than a
// pub/sub connection may be away.
const RevokedTTL = 24 * time.Hour

// Revoked returns the key of a string that is kept for RevokedTTL: when what a user's
// credentials have vouched for was last revoked, in Unix µs.
func (p *Partitions) Revoked(user int64) string { return p.UserKey(user, "live:revoked") }

// Channel returns the pub/sub channel of a user's live frames, which lies in the user's
// slot.
func (p *Partitions) Channel(user int64) string { return p.UserKey(user, "live") }

// UserKey returns a key of a user: "prefix:{tag}:uUSER:name".
func (p *Partitions) UserKey(user int64, name string) string {
	id := strconv.FormatInt(user, 10)
	return p.Key(p.Of(id), "u"+id+":"+name)
}

// UserMember formats a user's id with as many digits as the largest one has, so that
// members sort as ids do.
func UserMember(user int64) string { return fmt.Sprintf("%019d", user) }
