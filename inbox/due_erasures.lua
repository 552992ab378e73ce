-- Returns users whose erasure is due for another process.
--
-- KEYS  erasures: of the partition
-- ARGV  limit
--       max_delay: ms, longer than any erasure is put off
--       test_time: microseconds, or '' for Redis' time
-- Reply the users

local erasures = KEYS[1]
local limit, max_delay, test_time = unpack(ARGV)

local now = test_time ~= '' and math.floor(test_time / 1000) or millis()
local due = redis.call('ZRANGEBYSCORE', erasures, '-inf', digits(now), 'LIMIT', 0, limit)
if #due > 0 then return due end
-- Redis' clock has stepped back since these were put off: treat them as due.
return redis.call('ZRANGEBYSCORE', erasures, '(' .. digits(now + max_delay), '+inf', 'LIMIT', 0, limit)
