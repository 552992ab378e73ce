-- The least that any store of notifications does: store the text, list it, trim the list and
-- the texts, let both expire, and publish to subscribers. It does not deduplicate, count or
-- enqueue.
--
-- All ratios of Redis' CPU are to this script: it must not change.
--
-- KEYS  1 texts (hash)  2 list (sorted set)
-- ARGV  1 id: a number that increases  2 body  3 how many are kept  4 how long, ms  5 channel
-- Reply 1

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[1])
if redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[3]) then
  redis.call('HDEL', KEYS[1], redis.call('ZPOPMIN', KEYS[2])[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[2])
return 1
