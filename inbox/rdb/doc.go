// Package rdb is the access to Redis that other packages share: a [Batcher] sends the
// commands of concurrent callers in pipelines, a [Script] is executed by its digest, and
// [Partitions] derives the keys of users and partitions. sets.go reads and trims large
// sorted sets in bounded steps.
package rdb
