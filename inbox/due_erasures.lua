-- Returns users whose erasure is due for another process.
--
-- KEYS  erasures: of the partition
-- ARGV  limit
--       test_time: microseconds, or '' for Redis' time
-- Reply the users

local erasures = KEYS[1]
local limit, test_time = unpack(ARGV)

local now = test_time ~= '' and math.floor(test_time / 1000) or millis()
return redis.call('ZRANGEBYSCORE', erasures, '-inf', digits(now), 'LIMIT', 0, limit)
