// Package rdb gives other packages access to Redis: a [Batcher] carries the commands of
// concurrent callers in pipelines, a [Script] is sent by its digest, and [Partitions]
// derives the keys of users and partitions. sets.go reads and trims large sorted sets in
// bounded steps.
package rdb
