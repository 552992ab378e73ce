-- Delays a member of a sorted set again, if it is still there.
--
-- KEYS  set
-- ARGV  member
--       delay: ms
--       test_time: microseconds, or '' for Redis' time
-- Reply 1

local set = KEYS[1]
local member, delay, test_time = unpack(ARGV)

redis.call('ZREM', set, '') -- no-op: a script whose first write Redis permits at maxmemory may write on
redis.call('ZADD', set, 'XX', due_at(set, delay, test_time ~= '' and math.floor(test_time / 1000) or nil), member)
return 1
