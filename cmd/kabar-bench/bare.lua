-- What a store of notifications does at the very least: keep the text, list it,
-- bound the list, let both expire, and tell who listens. It dedupes, counts and
-- enqueues nothing.
--
-- KEYS  1 texts (hash)  2 list (sorted set)
-- ARGV  1 id  2 body  3 how many are kept  4 how long, ms  5 channel
-- Reply 1

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[2])
return 1
