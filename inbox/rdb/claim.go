package rdb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Layout is the version of the keys and their contents that this build reads and writes.
// Builds of one layout run side by side.
const Layout = 2

// Errors of Claim.
var (
	// ErrPartitions reports that Redis was first used with another number of partitions. The
	// number cannot change later, because the keys of users depend on it.
	ErrPartitions = errors.New("redis.partitions differs from what this Redis was first used with")
	// ErrLayout reports that the keys in Redis are of another layout than this build's.
	ErrLayout = errors.New("this Redis holds another layout than this build of Kabar uses")
	// ErrClaim reports that a key of Claim has a value that Kabar has not written.
	ErrClaim = errors.New("a key that says how Kabar's data lies in Redis is damaged, or not Kabar's")
)

// claimCopies is the number of hash slots of a cluster that hold a copy of the claim, so
// that it can be read while shards are away. It must not change.
const claimCopies = 16

// claimTimeout is the timeout of each step of Claim.
const claimTimeout = 5 * time.Second

// A claim is the layout and the number of partitions that Redis was first used with.
type claim struct{ layout, partitions int }

// String formats the claim as it is stored in Redis.
func (c claim) String() string { return fmt.Sprintf("%d %d", c.layout, c.partitions) }

// partitionsKey returns the key of the number of partitions that builds of layout 1 have
// written: a string without expiry.
func (p *Partitions) partitionsKey() string { return p.prefix + ":partitions" }

// layoutKeys returns the keys of the claim, "LAYOUT PARTITIONS": strings without expiry.
// All but the first are copies in other hash slots.
func (p *Partitions) layoutKeys() []string {
	keys := []string{p.prefix + ":layout"}
	for i := range claimCopies {
		keys = append(keys, p.prefix+":"+evenTag(i, claimCopies)+":layout")
	}
	return keys
}

// ClaimKeys returns the keys that Claim reads. It writes all but the last one.
func (p *Partitions) ClaimKeys() []string { return append(p.layoutKeys(), p.partitionsKey()) }

// Claim writes the layout's version and the number of partitions to Redis at the first
// start, and compares them at every later start. Data without a version has layout 1. The
// errors are ErrPartitions, ErrLayout and ErrClaim; other errors mean that Redis could not
// be read, or not be written at the first start. Later starts only read, so that they
// succeed while Redis is full or a shard of a cluster is away.
func (p *Partitions) Claim(ctx context.Context, rdb redis.UniversalClient) error {
	known, missing, err := p.compareClaims(ctx, rdb)
	if err != nil || missing == 0 {
		return err
	}
	write := func(ctx context.Context, _ int, key string) error {
		return rdb.SetNX(ctx, key, claim{Layout, p.Len()}.String(), 0).Err()
	}
	keys := p.layoutKeys()
	if err := forKeys(ctx, keys[:1], write); err != nil && !known {
		return fmt.Errorf("claim partitions: %w", err)
	}
	if _, _, err := p.compareClaims(ctx, rdb); err != nil { // another process may have written first
		return err
	}
	_ = forKeys(ctx, keys[1:], write) // a later start writes the copies that fail now
	_, _, err = p.compareClaims(ctx, rdb)
	return err
}

// Claimed compares as Claim does, and writes nothing. It reports whether Redis was used
// before.
func (p *Partitions) Claimed(ctx context.Context, rdb redis.UniversalClient) (bool, error) {
	known, _, err := p.compareClaims(ctx, rdb)
	return known, err
}

// forKeys calls f concurrently for each key, with the key's index, for at most
// claimTimeout. It returns the errors of all calls. It uses no pipeline, because one shard
// that hangs would fail the whole pipeline.
func forKeys(ctx context.Context, keys []string, f func(ctx context.Context, i int, key string) error) error {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() { errs[i] = f(ctx, i, key) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// compareClaims reads the claim and compares it with this process. It reports whether there
// was any, and how many keys are missing. It fails when it found none and could not read
// every key.
func (p *Partitions) compareClaims(ctx context.Context, rdb redis.UniversalClient) (known bool, missing int, err error) {
	keys := p.ClaimKeys()
	replies := make([]*redis.StringCmd, len(keys))
	_ = forKeys(ctx, keys, func(ctx context.Context, i int, key string) error {
		replies[i] = rdb.Get(ctx, key)
		return nil // each reply holds its own error
	})
	var failed error
	for i, reply := range replies {
		text, err := reply.Result()
		switch {
		case errors.Is(err, redis.Nil):
			if keys[i] != p.partitionsKey() {
				missing++
			}
			continue
		case redis.HasErrorPrefix(err, "WRONGTYPE"):
			return false, 0, fmt.Errorf("%w: %s is no string", ErrClaim, keys[i])
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		}
		known = true
		if err := p.compare(keys[i], text); err != nil {
			return false, 0, err
		}
	}
	if !known && failed != nil {
		return false, 0, fmt.Errorf("read partitions: %w", failed)
	}
	return known, missing, nil
}

// compare compares the value of a key with this process.
func (p *Partitions) compare(key, text string) error {
	found := claim{layout: 1}
	var err error
	if key == p.partitionsKey() {
		found.partitions, err = strconv.Atoi(text)
	} else if _, err = fmt.Sscanf(text, "%d %d", &found.layout, &found.partitions); err == nil && found.String() != text {
		err = errors.New("more than two numbers")
	}
	if err != nil || found.partitions < 1 {
		return fmt.Errorf("%w: %s holds %.40q; choose another redis.prefix or database, or restore the key", ErrClaim, key, text)
	}
	if found.layout != Layout {
		return fmt.Errorf("%w: Redis has layout %d, this build uses layout %d; run a build that uses that one, or give this one an empty Redis or another redis.prefix", ErrLayout, found.layout, Layout)
	}
	if found.partitions != p.Len() {
		return fmt.Errorf("%w: it has %d, the configuration says %d", ErrPartitions, found.partitions, p.Len())
	}
	return nil
}
