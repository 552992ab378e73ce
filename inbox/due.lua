-- Returns the members of a sorted set that are due, such as the hand-offs of a partition.
--
-- KEYS  set
-- ARGV  limit
--       test_time: microseconds, or '' for Redis' time
-- Reply the members

local set = KEYS[1]
local limit, test_time = unpack(ARGV)

redis.call('ZREM', set, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
local now = due_now(set, test_time ~= '' and math.floor(test_time / 1000) or nil)
return redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, limit)
