package redischeck

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/kabar-gateway/kabar/inbox/rdb"
)

// Away is the reason of a shard that does not answer.
const Away = "away"

// states maps the error codes of a Redis that is configured correctly, but cannot serve
// every command at the moment, to explanations.
var states = map[string]string{
	"OOM":         "its memory is full",
	"READONLY":    "it is a replica",
	"MISCONF":     "it cannot write to its disk",
	"NOREPLICAS":  "it has fewer replicas than its min-replicas-to-write",
	"LOADING":     "it is loading its data",
	"CLUSTERDOWN": "the cluster is down",
	"MASTERDOWN":  "its master is down",
	"TRYAGAIN":    "slots are moving",
	"BUSY":        "a script blocks it",
}

// reasonOf names the reason of an error, by Redis' error code if there is one, and returns
// an explanation.
func reasonOf(err error) (reason, meaning string) {
	for word, meaning := range states {
		if hasPrefix(err, word) {
			return word, meaning
		}
	}
	for _, word := range []string{"NOPERM", "NOAUTH", "WRONGPASS"} {
		if hasPrefix(err, word) {
			return word, "redis.url's user lacks a right, or has another password"
		}
	}
	switch {
	case errors.Is(err, rdb.ErrReplicas):
		return "WAIT", "fewer replicas confirm writes than redis.wait_replicas"
	case isReply(err):
		return "ERR", err.Error()
	}
	return Away, "it does not answer"
}

// isAway reports whether Redis does not answer, or is loading its data.
func isAway(err error) bool {
	if faulty(err) {
		return false
	}
	return !isReply(err) || passes(err)
}

// passes reports whether an error may end without intervention.
func passes(err error) bool {
	if faulty(err) {
		return false
	}
	for word := range states {
		if hasPrefix(err, word) {
			return true
		}
	}
	return !isReply(err)
}

// faulty reports whether an error shows a fault of the configuration.
func faulty(err error) bool {
	for _, fault := range []error{ErrVolatile, ErrKind, ErrVersion, ErrRights, rdb.ErrPartitions, rdb.ErrLayout, rdb.ErrClaim} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// isReply reports whether an error is a reply of Redis.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func hasPrefix(err error, word string) bool { return redis.HasErrorPrefix(err, word) }
