-- Keeps walkers with a lower fence out of a partition.
--
-- KEYS  1 walk  2 text (the walk is forgotten when it is)
-- ARGV  1 fence
-- Reply {fence, cursor}: the highest fence, and the last user who was reached, or ''

local known = redis.call('HMGET', KEYS[1], 'fence', 'cursor')
local fence = known[1] or '0'
if tonumber(fence) < tonumber(ARGV[1]) then
  fence = ARGV[1]
  redis.call('HSET', KEYS[1], 'fence', fence)
  redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[2]))
end
return {fence, known[2] or ''}
